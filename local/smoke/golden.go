package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"sitoo-rule/local/runtimeapi"
	"sitoo-rule/shared/rule"
)

// replyOf returns what a golden file holds: the reply, or the type and message
// of the function's error. A panic is never an answer.
func replyOf(res runtimeapi.Result) ([]byte, error) {
	if res.Err == nil {
		return res.Payload, nil
	}
	if len(res.Err.Stack) > 0 {
		at := res.Err.Stack[0]
		return nil, fmt.Errorf("the function panicked at %s:%d: %w", at.Path, at.Line, res.Err)
	}
	reply, err := json.Marshal(res.Err)
	if err != nil {
		return nil, fmt.Errorf("encode the function's error: %w", err)
	}
	return reply, nil
}

var (
	// newID is an import's id as rand.Text makes it, in a reply's body.
	newID = regexp.MustCompile(`(\\"importid\\":\\")[A-Z2-7]{26}(\\")`)
	// newCustomer is what a set-up check's test customer has of its own in its
	// address: when it was made up, and a random word.
	newCustomer = regexp.MustCompile(`(sitoo-rule-setup-check-)\d{8}t\d{6}z-[a-z0-9]+(@example\.com)`)
	// moment is a time as replies have it, and minute one as a sentence to a
	// cashier has it, in Swedish time.
	moment = regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z`)
	minute = regexp.MustCompile(`\d{4}-\d\d-\d\d \d\d:\d\d`)
)

// steady replaces what no two runs have in common. A time is replaced only if it
// is not before begun, when the function was started, and not after now.
func steady(reply []byte, begun, now time.Time) []byte {
	reply = newID.ReplaceAll(reply, []byte("${1}(new id)${2}"))
	reply = newCustomer.ReplaceAll(reply, []byte("${1}(new id)${2}"))
	// Most replies have no parts of a second, and sentences none of a minute.
	reply = during(reply, moment, time.RFC3339, begun.Truncate(time.Second), now)
	return during(reply, minute, "2006-01-02 15:04", begun.Truncate(time.Minute), now)
}

// during replaces the times from begun to now in a reply.
func during(reply []byte, times *regexp.Regexp, layout string, begun, now time.Time) []byte {
	return times.ReplaceAllFunc(reply, func(text []byte) []byte {
		// A time that names its zone is not read in another.
		t, err := time.ParseInLocation(layout, string(text), rule.Stockholm)
		if err != nil || t.Before(begun) || t.After(now) {
			return text
		}
		return []byte("(during this run)")
	})
}

// writeGolden writes a reply for people to read, with a newline at the end.
func writeGolden(path string, reply []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("write the golden file: %w", err)
	}
	var buf bytes.Buffer
	if json.Indent(&buf, reply, "", "  ") != nil {
		buf.Reset()
		buf.Write(reply) // not JSON: as it is
	}
	buf.WriteByte('\n')
	if err := os.WriteFile(path, buf.Bytes(), 0o644); err != nil {
		return fmt.Errorf("write the golden file: %w", err)
	}
	return nil
}

// compare returns the lines that tell want from got, nil if they are the same
// but for white space between JSON tokens.
func compare(want, got []byte) []string {
	if bytes.Equal(compact(want), compact(got)) {
		return nil
	}
	a, b := runtimeapi.Readable(want), runtimeapi.Readable(got)
	if a == b { // only the order of members or the spelling of a body
		a, b = string(compact(want)), string(compact(got))
	}
	return diff(strings.Split(a, "\n"), strings.Split(b, "\n"))
}

func compact(data []byte) []byte {
	var buf bytes.Buffer
	if json.Compact(&buf, data) != nil {
		return bytes.TrimSpace(data)
	}
	return buf.Bytes()
}

const (
	nearby   = 3    // lines shown around a change
	maxLines = 3000 // of a text that is compared line by line
)

// diff returns the lines of a and b with "-", "+" or " " in front, leaving out
// what is far from any change.
func diff(a, b []string) []string {
	if len(a) > maxLines || len(b) > maxLines {
		return []string{fmt.Sprintf("too long to compare here: %d lines, %d lines", len(a), len(b))}
	}
	// common[i][j] is the length of the longest common subsequence of a[i:], b[j:].
	common := make([][]int, len(a)+1)
	for i := range common {
		common[i] = make([]int, len(b)+1)
	}
	for i := len(a) - 1; i >= 0; i-- {
		for j := len(b) - 1; j >= 0; j-- {
			if a[i] == b[j] {
				common[i][j] = common[i+1][j+1] + 1
			} else {
				common[i][j] = max(common[i+1][j], common[i][j+1])
			}
		}
	}
	var lines []string
	for i, j := 0, 0; i < len(a) || j < len(b); {
		switch {
		case i < len(a) && j < len(b) && a[i] == b[j]:
			lines = append(lines, "  "+a[i])
			i, j = i+1, j+1
		case j == len(b) || (i < len(a) && common[i+1][j] >= common[i][j+1]):
			lines = append(lines, "- "+a[i])
			i++
		default:
			lines = append(lines, "+ "+b[j])
			j++
		}
	}
	return around(lines)
}

// around keeps the changed lines and those near them.
func around(lines []string) []string {
	keep := make([]bool, len(lines))
	for i, line := range lines {
		if !strings.HasPrefix(line, "  ") {
			for j := max(0, i-nearby); j < min(len(lines), i+nearby+1); j++ {
				keep[j] = true
			}
		}
	}
	var out []string
	for i, line := range lines {
		switch {
		case keep[i]:
			out = append(out, line)
		case i == 0 || keep[i-1]:
			out = append(out, "  ...")
		}
	}
	return out
}
