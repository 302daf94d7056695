// Package session plays what a page of the documentation tells people to type:
// the commands word for word, and the answers that stand below them. The same
// page is played against everything that serves the connector; only the
// addresses differ. It serves tests.
package session

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"
)

// Session says how a page is played. A line that begins with "curl " or is one of
// make's commands is typed; a line "#> text" below it is how its answer begins,
// and "#> ... text" is what its answer holds.
type Session struct {
	// Address turns the addresses of the page into those of this run.
	Address *strings.Replacer
	// Make is what make is told beside the line's own words.
	Make []string
	// Leave reports whether a command is left out, with its answers.
	Leave func(line string) bool
	// Heading is called with every heading of the page, before what is below it.
	Heading func(t *testing.T, text string)
	// Pause is how long to wait before it is looked again whether a worker is done:
	// for what runs in processes of its own.
	Pause time.Duration
}

// tries is how often it is looked whether a worker is done. With a pause it is
// patience, see Session.wait.
const tries = 20_000

// patience is how long a worker may take when there is a pause between looks.
const patience = 5 * time.Minute

// Played is how much of a page was played.
type Played struct{ Commands, Answers int }

// Play plays the page at path, which is the name of a Markdown file.
func (s Session) Play(t *testing.T, path string) (played Played) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var last, body string // the command whose answers come, and its answer
	leave := false
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(line, "#") && !strings.HasPrefix(line, "#> "):
			if s.Heading != nil {
				s.Heading(t, strings.TrimLeft(line, "# "))
			}
		case command(line):
			if last, leave = line, s.Leave != nil && s.Leave(line); leave {
				continue
			}
			body = s.typed(t, line)
			played.Commands++
		case strings.HasPrefix(line, "#> ") && !leave:
			played.Answers++
			want := strings.TrimPrefix(line, "#> ")
			if body = s.wait(t, last, body, want); !answered(body, want) {
				t.Errorf("%s\nanswers %s\n%s says %s", last, body, path, want)
			}
		}
	}
	return played
}

// command reports whether a line is typed.
func command(line string) bool {
	return strings.HasPrefix(line, "curl ") || strings.HasPrefix(line, "make backfill ") || line == "make check-setup"
}

// typed types a line and returns what it answers.
func (s Session) typed(t *testing.T, line string) string {
	t.Helper()
	if strings.HasPrefix(line, "make ") {
		out, err := exec.CommandContext(t.Context(), "make", append(strings.Fields(line)[1:], s.Make...)...).CombinedOutput()
		if err != nil {
			t.Errorf("%s: %v\n%s", line, err, out)
		}
		return string(out)
	}
	status, body := s.Curl(t, line)
	if status != 200 && status != 202 && status != 400 && status != 404 {
		t.Errorf("%s\nstatus %d: %s", line, status, body)
	}
	return body
}

// wait looks again, a bounded number of times, while a worker may still be at it,
// and returns the last answer.
func (s Session) wait(t *testing.T, line, body, want string) string {
	t.Helper()
	begun := time.Now()
	for range tries {
		if answered(body, want) || !looks(line) || s.Pause > 0 && time.Since(begun) > patience {
			break
		}
		if s.Pause > 0 {
			select {
			case <-t.Context().Done():
				return body
			case <-time.After(s.Pause):
			}
		}
		_, body = s.Curl(t, line)
	}
	return body
}

// looks reports whether a command looks at what a worker does.
func looks(line string) bool {
	return !strings.Contains(line, " -d ") && (strings.HasSuffix(line, "/transactions") || strings.Contains(line, "/imports") || strings.Contains(line, "/backfills") || strings.Contains(line, "DeadLetters"))
}

// answered reports whether an answer begins as the page says, or with three dots
// in front has that in it.
func answered(body, want string) bool {
	if within, anywhere := strings.CutPrefix(want, "... "); anywhere {
		return strings.Contains(body, within)
	}
	return strings.HasPrefix(body, want)
}

// Customer looks at Rule's page, to which the README sends people, after the day
// at the till and the bonus checks: of the check that is used in part, in full,
// and taken back once, 60 kr are left.
func (s Session) Customer(t *testing.T) {
	t.Helper()
	_, page := s.Curl(t, "curl http://127.0.0.1:3001/")
	for _, want := range []string{"900001", "OrderCompleted", "ny.kund@example.com", "Sitoo-Order", "bonuschecks"} {
		if !strings.Contains(page, want) {
			t.Errorf("Rule's page does not show %s", want)
		}
	}
	page = regexp.MustCompile(`<td data-head="[^"]*">`).ReplaceAllString(page, "<td>")
	check := regexp.MustCompile(`(?s)<tr>\s*<td>bc-2011</td>.*?</tr>`).FindString(page)
	for _, want := range []string{"<td>100.00</td>", "<td>60.00</td>", "<td>false</td>"} {
		if !strings.Contains(check, want) {
			t.Errorf("Rule's page shows the check as %q, without %s", check, want)
		}
	}
}

// OneMonth, for Session.Leave, leaves out the backfill of two years, which takes
// the emulator eight minutes and more, and what is said of it, for one of the month
// whose orders are asked for again below it. where is what make is told beside that.
func OneMonth(t *testing.T, where []string) func(line string) bool {
	instead, left := "make backfill FROM=2024-02-01 TO=2024-02-29", false
	return func(line string) bool {
		switch {
		case strings.HasPrefix(line, "make backfill FROM="):
			out, err := exec.CommandContext(t.Context(), "make", append(strings.Fields(instead)[1:], where...)...).CombinedOutput()
			if err != nil || !strings.Contains(string(out), "The sums agree") {
				t.Errorf("%s: %v\n%s", instead, err, out)
			}
			left = true
		case strings.HasPrefix(line, "make "):
			left = false
		}
		return left
	}
}
