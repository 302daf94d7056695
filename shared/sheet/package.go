package sheet

import (
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	"sitoo-rule/shared/fault"
)

// maxEntries is how many files a workbook may be made of, and links and sheets
// it may have. Those of a table are ten or so.
const maxEntries = 10_000

// refuse tells what other than an .xlsx workbook the archive is.
func (w *workbook) refuse() error {
	macros, book := false, false
	for name, f := range w.parts {
		if f.Flags&1 != 0 {
			return errPassword
		}
		macros = macros || path.Base(name) == "vbaproject.bin" || strings.HasPrefix(name, "xl/macrosheets/")
		book = book || path.Base(name) == "workbook.xml"
	}
	switch {
	case macros:
		return errMacros
	case w.parts["xl/workbook.bin"] != nil:
		return fault.Say(fault.Invalid, "file_xlsb")
	case w.parts["mimetype"] != nil && w.parts["content.xml"] != nil:
		return fault.Say(fault.Invalid, "file_ods")
	case !book:
		return fault.Say(fault.Invalid, "file_zip")
	}
	return nil
}

// types refuses a workbook, the part main, that is declared to have macros. What
// is declared for a kind of files, which some writers always do, and for a
// workbook that is embedded says nothing of it.
func (w *workbook) types(main string) error {
	return w.each("[content_types].xml", func(_ string, e *scanner) error {
		if strings.EqualFold(strings.TrimPrefix(e.attr("PartName"), "/"), main) &&
			strings.Contains(strings.ToLower(e.attr("ContentType")), "macroenabled") {
			return errMacros
		}
		return nil
	})
}

// links is what a part refers to.
type links struct {
	byID  map[string]link
	first map[string]string // the first target of a kind
}

// link is how a part refers to another one.
type link struct{ kind, target string }

// links returns what a part refers to; "" is the whole package.
func (w *workbook) links(from string) (links, error) {
	l := links{byID: make(map[string]link), first: make(map[string]string)}
	folder, file := path.Split(from)
	name := folder + "_rels/" + file + ".rels"
	if w.parts[name] == nil {
		return l, nil
	}
	return l, w.each(name, func(_ string, e *scanner) error {
		if e.name != "Relationship" || e.attr("TargetMode") == "External" {
			return nil
		}
		if len(l.byID) == maxEntries {
			return damaged(errors.New("too many relationships"))
		}
		target := strings.ToLower(strings.ReplaceAll(e.attr("Target"), `\`, "/"))
		if !strings.HasPrefix(target, "/") {
			target = path.Join("/", folder, target)
		}
		next := link{
			kind:   strings.ToLower(path.Base(e.attr("Type"))),
			target: strings.TrimPrefix(path.Clean(target), "/"),
		}
		l.byID[e.attr("Id")] = next
		if _, ok := l.first[next.kind]; !ok {
			l.first[next.kind] = next.target
		}
		return nil
	})
}

// each calls f for every element of a part, with the name of the element that
// it is in.
func (w *workbook) each(name string, f func(parent string, e *scanner) error) error {
	return w.scan(name, func(s *scanner, k kind) error {
		if k != start {
			return nil
		}
		parent := ""
		if n := len(s.path); n > 1 {
			parent = s.path[n-2]
		}
		return f(parent, s)
	})
}

// scan calls f for every token of a part, until errDone.
func (w *workbook) scan(name string, f func(s *scanner, k kind) error) error {
	file := w.parts[name]
	if file == nil {
		return damaged(errors.New("a part is missing"))
	}
	r, err := file.Open()
	if err != nil {
		return damaged(fmt.Errorf("open a part: %w", err))
	}
	defer func() { _ = r.Close() }() // nothing is left to go wrong
	s := newScanner(w.in, r, &w.budget)
	for {
		k, err := s.next()
		if err == nil {
			err = f(s, k)
		}
		switch _, known := errors.AsType[*fault.Error](err); {
		case err == nil:
		case err == io.EOF, err == errDone:
			return nil
		case known:
			return err
		default:
			return damaged(err)
		}
	}
}
