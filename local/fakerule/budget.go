package fakerule

import (
	"slices"
	"time"
)

// budget counts an account's requests over the last Window and blocks it. It
// works in whole seconds, as the times that Rule answers do: a block that is
// said to end at 14:22:16 ends then, and not a fraction later.
type budget struct {
	allowed, percent, sample int

	hits   []*hit // oldest first
	failed int    // hits that were answered with an error
	until  time.Time
	told   bool // a 429 has told the client of the block that ends at until
	inside int  // requests that came although the client had been told
}

// A hit is one request of the window.
type hit struct {
	at     time.Time
	failed bool
	gone   bool // out of the window
}

// admit counts a request that arrives at now. blocked means that it is to be
// answered 429. Requests inside a block count too, as errors: a client that
// keeps knocking finds the next window used up already.
func (b *budget) admit(now time.Time) (h *hit, blocked bool) {
	now = now.Truncate(time.Second)
	b.prune(now)
	switch {
	case now.Before(b.until):
		if b.told {
			b.inside++
		}
		b.told = true
		blocked = true
	case len(b.hits) >= b.allowed || b.overShare():
		b.block(now.Add(Block))
		b.told = true
		blocked = true
	}
	h = &hit{at: now}
	b.hits = append(b.hits, h)
	return h, blocked
}

// answered notes how a counted request ended.
func (b *budget) answered(h *hit, failed bool) {
	if failed && !h.failed && !h.gone {
		h.failed = true
		b.failed++
	}
}

func (b *budget) block(until time.Time) {
	b.until = until.Truncate(time.Second)
	b.told = false
}

func (b *budget) overShare() bool {
	return len(b.hits) >= b.sample && b.failed*100 > b.percent*len(b.hits)
}

// prune forgets what is a whole window old, so that the request which started a
// block does not count any more when the block ends.
func (b *budget) prune(now time.Time) {
	start := now.Truncate(time.Second).Add(-Window)
	n := slices.IndexFunc(b.hits, func(h *hit) bool { return h.at.After(start) })
	if n < 0 {
		n = len(b.hits)
	}
	for i, h := range b.hits[:n] {
		h.gone = true
		if h.failed {
			b.failed--
		}
		b.hits[i] = nil
	}
	b.hits = b.hits[n:]
}

// usage returns the number of requests in the window and the share of errors in
// whole percent, rounded down.
func (b *budget) usage(now time.Time) (used, percent int) {
	b.prune(now)
	if used = len(b.hits); used > 0 {
		percent = b.failed * 100 / used
	}
	return used, percent
}
