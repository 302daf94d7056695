package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"sitoo-rule/shared/history"
)

const (
	// often is how often progress is asked for while something changes, seldom
	// while nothing does: a job may wait for hours.
	often  = 2 * time.Second
	seldom = 10 * time.Second
	// appear is how long a job may take to be there after its message is posted.
	appear = time.Minute
	// joins is how long after the message is posted a job that was under way may
	// have ended before the message came, which then begins it anew.
	joins = 15 * time.Second
	// counting is how far apart lines are that differ in nothing but counts.
	counting = 10 * time.Second
	// patience is how long a connector that does not answer is asked again, and
	// longest the longest wait in between.
	patience = 10 * time.Minute
	longest  = 30 * time.Second
)

// watch follows one job.
type watch struct {
	*command
	settings
	client client
	id     string
	before history.Status // as it was before the message, zero if there was none

	shown history.Status // what the last line of progress says
	at    time.Time      // when it was shown
}

func (w *watch) find(ctx context.Context) (history.Status, error) { return w.client.find(ctx, w.id) }

// prepare looks at what there is before the message is posted, and says what the
// message will do to it. Its error is why posting it would be of no use.
func (w *watch) prepare(ctx context.Context) (known string, err error) {
	if w.before, err = w.find(ctx); err != nil && !errors.Is(err, errNone) {
		return "", err
	}
	switch {
	case w.before.ID == "":
		return "", nil
	case w.before.State.Final():
		return fmt.Sprintf(": its run %d has ended (%s, %s); it begins anew", w.before.Run, w.before.State, w.moment(w.before.Ended)), nil
	}
	return fmt.Sprintf(": it is there already (%s, %d %%); the message joins it", w.before.State, w.before.Percent), nil
}

// ended reports whether what is known of the job is only of the run that had
// ended before the message was posted.
func (w *watch) ended(st history.Status) bool {
	return w.before.State.Final() && st.Run <= w.before.Run
}

// follow shows progress until the job has ended.
func (w *watch) follow(ctx context.Context) error {
	posted, seen, pause := w.now(), w.before, often
	from := posted // since when a job may be there
	var out outage
	for {
		st, err := w.find(ctx)
		none := errors.Is(err, errNone)
		answered := err == nil || none
		if answered && !out.since.IsZero() {
			w.say("the connector answers again")
			out, from = outage{}, w.now()
		}
		switch {
		case ctx.Err() != nil:
			return w.interrupted()
		case !answered:
			if pause, err = w.lost(&out, err); err != nil {
				return err
			}
		case none && seen.ID != "" && !w.ended(seen):
			return errors.New("the connector does not know the backfill any more: if `make run` was started anew, enter the credentials and begin the backfill again")
		case none || w.ended(st):
			if w.now().Sub(from) > appear {
				return w.leave("no job has come of the message within %s. Look for the message in BackfillDeadLetters, where its attribute reason says why, and at the lines of backfill-worker", duration(appear))
			}
			pause = often
		default:
			if w.before.ID != "" && !w.before.State.Final() && st.Run > seen.Run {
				w.say("it had ended before the message came, and begins anew")
			}
			w.id, seen = st.ID, st
			pause = min(2*pause, seldom)
			if w.show(st) {
				pause = often
			}
			mayBegin := st.Run == w.before.Run && w.now().Sub(posted) < joins
			if st.State == history.Paused || st.State.Final() && !mayBegin {
				return w.end(st)
			}
		}
		if w.sleep(ctx, pause) != nil {
			return w.interrupted()
		}
	}
}

// outage is a time in which the connector does not answer as it should.
type outage struct {
	since time.Time // zero if there is none
	said  string    // what is wrong
	pause time.Duration
}

// lost says that the connector does not answer, and when to ask again. Its error
// ends the watch.
func (w *watch) lost(out *outage, err error) (pause time.Duration, end error) {
	if !passes(err) {
		return 0, w.leave("%w; the backfill goes on by itself", err)
	}
	if out.since.IsZero() {
		*out = outage{since: w.now(), pause: often / 2}
	}
	left := patience - w.now().Sub(out.since)
	if left <= 0 {
		return 0, w.leave("%w; not asked any more after %s, and the backfill goes on by itself", err, duration(patience))
	}
	if text := err.Error(); text != out.said {
		out.said = text
		w.say("%s; asked again for %s", text, duration(left))
	}
	out.pause = min(2*out.pause, longest)
	return out.pause, nil
}

// stranger says what else may be wrong where the account was named.
func (w *watch) interrupted() error { return w.leave("interrupted; the backfill goes on by itself") }

// leave says how to look at a job that is no longer watched, and returns why.
func (w *watch) leave(format string, args ...any) error {
	w.say("To look at it: curl -H 'Authorization: Bearer <the key>' %s/backfills/%s", w.url, w.id)
	w.say("To watch it again: the same command. It joins a backfill that is under way, and begins one anew that has ended; no order is written twice.")
	return fmt.Errorf(format, args...)
}

// show shows how far a job is, if that is news, and reports whether anything has
// changed.
func (w *watch) show(st history.Status) bool {
	old := w.shown
	news := st.Run != old.Run || st.State != old.State || st.Phase != old.Phase || st.Percent != old.Percent ||
		st.Reason != old.Reason || !st.Until.Equal(old.Until) || st.Stalled != old.Stalled
	counted := st.Listed != old.Listed || counts(st) != counts(old)
	if news || counted && w.now().Sub(w.at) >= counting {
		w.say("%s", w.progress(st))
		w.shown, w.at = st, w.now()
	}
	return news || counted
}
