package main

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"sitoo-rule/shared/bonus"
	"sitoo-rule/shared/fault"
)

// display shows what happens: on a terminal one line of progress below the
// others, which is written over, and elsewhere a line now and then.
type display struct {
	out      io.Writer
	terminal bool

	open bool   // the last line is one of progress
	last string // what was shown of progress last
}

// line shows a line that stays.
func (d *display) line(format string, args ...any) {
	d.end()
	fmt.Fprintln(d.out, printable(fmt.Sprintf(format, args...)))
}

// progress shows how far it is. Where lines stay, there is one for each stage.
func (d *display) progress(stage, text string) {
	if d.terminal {
		if text != d.last || !d.open {
			fmt.Fprint(d.out, "\r\x1b[K"+printable(text))
		}
		d.last, d.open = text, true
		return
	}
	if stage != d.last {
		d.last = stage
		fmt.Fprintln(d.out, printable(text))
	}
}

// end ends a line of progress, which stays then.
func (d *display) end() {
	if d.open {
		fmt.Fprintln(d.out)
		d.open = false
	}
}

// failures shows what is wrong with rows.
func (d *display) failures(list []bonus.Failure) {
	for _, f := range list {
		if f.Column != "" {
			d.line("  row %d, column %s: %s", f.Row, f.Column, f.Reason)
		} else {
			d.line("  row %d: %s", f.Row, f.Reason)
		}
	}
}

// printable keeps what a file or an answer holds from moving the cursor.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7F || r >= 0x80 && r < 0xA0 {
			return ' '
		}
		return r
	}, s)
}

// count writes a number with its noun.
func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// sentence is an error as people read it.
func sentence(err error) error {
	var f *fault.Error
	if !errors.As(err, &f) || f.Message == "" {
		return err
	}
	if f.Member != "" {
		return errors.New(f.Sentence("en"))
	}
	return errors.New(f.Message)
}
