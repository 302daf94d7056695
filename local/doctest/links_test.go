// Package doctest_test checks what the documentation promises a reader: that every
// link within the repository leads somewhere.
package doctest_test

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode"

	"github.com/google/go-cmp/cmp"
)

// root is the top of the repository, seen from this package.
const root = "../.."

// pages are the pages of documentation, as paths from the top.
func pages(t *testing.T) []string {
	t.Helper()
	var list []string
	for _, pattern := range []string{"*.md", "docs/*.md"} {
		found, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range found {
			page, err := filepath.Rel(root, path)
			if err != nil {
				t.Fatal(err)
			}
			list = append(list, filepath.ToSlash(page))
		}
	}
	if len(list) < 3 {
		t.Fatalf("pages: %v", list)
	}
	return list
}

func read(t *testing.T, page string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, page))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// prose returns a page's lines without what is shown as it was typed: blocks of
// code, and code within a line.
func prose(text string) []string {
	var lines []string
	fence := ""
	code := regexp.MustCompile("`+[^`]*`+")
	for line := range strings.Lines(text) {
		trimmed := strings.TrimSpace(line)
		switch {
		case fence == "" && (strings.HasPrefix(trimmed, "```") || strings.HasPrefix(trimmed, "~~~")):
			fence = trimmed[:3]
		case fence != "" && strings.HasPrefix(trimmed, fence):
			fence = ""
		case fence == "":
			lines = append(lines, code.ReplaceAllStringFunc(strings.TrimRight(line, "\n"), func(s string) string {
				// A link's text may be code: its brackets are not counted.
				return strings.Map(func(r rune) rune {
					if strings.ContainsRune("[]()", r) {
						return '·'
					}
					return r
				}, s)
			}))
		}
	}
	return lines
}

var (
	inline    = regexp.MustCompile(`\]\(\s*<?([^)\s>]+)>?(?:\s+"[^"]*")?\s*\)`)
	reference = regexp.MustCompile(`^\s{0,3}\[[^\]]+\]:\s+<?(\S+?)>?\s*$`)
	attribute = regexp.MustCompile(`\b(?:href|src)="([^"]+)"`)
)

// links are the addresses that a page links to.
func links(text string) (list []string) {
	for _, line := range prose(text) {
		for _, pattern := range []*regexp.Regexp{inline, reference, attribute} {
			for _, m := range pattern.FindAllStringSubmatch(line, -1) {
				list = append(list, m[1])
			}
		}
	}
	return list
}

// anchors are the ids that GitHub gives the headings of a page, and those that it
// has of its own.
func anchors(text string) map[string]bool {
	ids, times := map[string]bool{}, map[string]int{}
	heading := regexp.MustCompile(`^ {0,3}#{1,6}\s+(.*?)\s*#*\s*$`)
	own := regexp.MustCompile(`\b(?:id|name)="([^"]+)"`)
	linked := regexp.MustCompile(`\[([^\]]*)\]\([^)]*\)`)
	for _, line := range prose(text) {
		for _, m := range own.FindAllStringSubmatch(line, -1) {
			ids[m[1]] = true
		}
		m := heading.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		id := strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case r == '-' || r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r) || unicode.IsMark(r):
				return unicode.ToLower(r)
			}
			return -1
		}, linked.ReplaceAllString(m[1], "$1"))
		n := times[id]
		times[id]++
		if n > 0 {
			id = fmt.Sprintf("%s-%d", id, n)
		}
		ids[id] = true
	}
	return ids
}

// dead says why a link of a page leads nowhere, "" if it leads somewhere or out of
// the repository. file returns what is at a path from the top.
func dead(page, link string, file func(path string) (text string, folder, ok bool)) string {
	u, err := url.Parse(link)
	switch {
	case err != nil:
		return "is no address"
	case u.Scheme != "" || u.Host != "":
		return ""
	case strings.HasPrefix(u.Path, "/"):
		return "is not relative: it works on no machine but one"
	}
	path := page
	if u.Path != "" {
		path = filepath.ToSlash(filepath.Join(filepath.Dir(page), u.Path))
	}
	if strings.HasPrefix(path, "..") {
		return "leads out of the repository"
	}
	text, folder, ok := file(path)
	switch {
	case !ok:
		return "leads to no file"
	case u.Fragment == "" || !strings.HasSuffix(path, ".md"):
		return ""
	case folder || !anchors(text)[u.Fragment]:
		return "leads to no heading of " + path
	}
	return ""
}

// Every link of README.md, CONTRIBUTING.md and docs/ leads to a file or a heading.
func TestEveryLinkLeadsSomewhere(t *testing.T) {
	t.Parallel()
	seen := 0
	for _, page := range pages(t) {
		for _, link := range links(read(t, page)) {
			seen++
			why := dead(page, link, func(path string) (string, bool, bool) {
				info, err := os.Stat(filepath.Join(root, path))
				if err != nil {
					return "", false, false
				}
				if info.IsDir() {
					return "", true, true
				}
				return read(t, path), false, true
			})
			if why != "" {
				t.Errorf("%s: the link %s %s", page, link, why)
			}
		}
	}
	if seen < 5 {
		t.Errorf("%d links", seen)
	}
}

// Headings get the ids that GitHub gives them, and a link that leads nowhere is told
// from one that does.
func TestLinksAreRead(t *testing.T) {
	t.Parallel()
	page := "# Title\n\n## Orders wait too long\n## What it's for: `a.b` (v1)\n## Same\n## Same\n### [A link](x.md) över allt\n<a id=\"own\"></a>\n```sh\n# no heading\n[no](link.md)\n```\n" +
		"[a](b.md#same-1) and ![picture](p.svg \"title\"), `[no](code.md)`, [`code`](c.md)\n[ref]: d.md\n"
	if diff := cmp.Diff(map[string]bool{
		"title": true, "orders-wait-too-long": true, "what-its-for-ab-v1": true, "same": true, "same-1": true, "a-link-över-allt": true, "own": true,
	}, anchors(page)); diff != "" {
		t.Errorf("anchors (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"x.md", "b.md#same-1", "p.svg", "c.md", "d.md"}, links(page)); diff != "" {
		t.Errorf("links (-want +got):\n%s", diff)
	}
	file := func(path string) (string, bool, bool) {
		return page, path == "docs", path == "docs/a.md" || path == "README.md" || path == "docs"
	}
	for link, want := range map[string]string{
		"a.md#same": "", "../README.md": "", "#own": "", "https://example.com/x": "", "../docs": "",
		"b.md": "leads to no file", "../../x": "leads out of the repository", "a.md#none": "leads to no heading of docs/a.md",
		"#same-2": "leads to no heading of docs/a.md", "/docs/a.md": "is not relative: it works on no machine but one",
	} {
		if got := dead("docs/a.md", link, file); got != want {
			t.Errorf("%s %q, want %q", link, got, want)
		}
	}
}

// paths are the places in the repository that a page names as code. A place with a
// word to fill in, as events/<function>, is none.
func paths(text string) (list []string) {
	place := regexp.MustCompile("`((?:functions|shared|local|events|docs|\\.ci)/[^`\\s]*)`")
	for _, m := range place.FindAllStringSubmatch(text, -1) {
		if !strings.ContainsAny(m[1], "<{") {
			list = append(list, m[1])
		}
	}
	return list
}

// A page that says where something is says so of a file that is there: after a
// move, this names the pages to change.
func TestEveryPathIsThere(t *testing.T) {
	t.Parallel()
	seen := 0
	for _, page := range pages(t) {
		for _, path := range paths(read(t, page)) {
			seen++
			if found, err := filepath.Glob(filepath.Join(root, filepath.FromSlash(path))); err != nil || len(found) == 0 {
				t.Errorf("%s names %s, which is not there", page, path)
			}
		}
	}
	if seen < 20 {
		t.Errorf("%d paths", seen)
	}
	if diff := cmp.Diff([]string{"shared/x.go", "local/*"}, paths("`shared/x.go`, `events/<name>/`, shared/no, `local/*` `make x`")); diff != "" {
		t.Errorf("paths (-want +got):\n%s", diff)
	}
}
