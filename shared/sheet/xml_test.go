package sheet_test

import (
	"bytes"
	"encoding/xml"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sitoo-rule/shared/sheet"
)

// standard reads XML as sheet.Tokens does, with encoding/xml.
func standard(body []byte) ([]string, error) {
	d := xml.NewDecoder(bytes.NewReader(body))
	var tokens []string
	text, depth, space := "", 0, ""
	name := func(n xml.Name) string { // of an extension, if it is not of the root's namespace
		if n.Space != space {
			return ":" + n.Local
		}
		return n.Local
	}
	for {
		token, err := d.Token()
		if t, ok := token.(xml.CharData); ok {
			if depth > 0 {
				text += string(t)
			}
			if strings.ContainsRune(text, '\ufffd') { // what it makes of half a character
				return nil, io.ErrUnexpectedEOF
			}
			continue
		}
		if text != "" {
			switch token.(type) {
			case xml.StartElement, xml.EndElement:
				tokens = append(tokens, "text "+text)
				text = ""
			}
		}
		switch t := token.(type) {
		case xml.StartElement:
			if depth++; depth == 1 {
				space = t.Name.Space
			}
			r := ""
			for _, a := range t.Attr {
				if a.Name.Local == "r" && a.Name.Space == "" {
					r = a.Value
					break
				}
			}
			tokens = append(tokens, "start "+name(t.Name)+" r="+r)
		case xml.EndElement:
			depth--
			tokens = append(tokens, "end "+name(t.Name))
		case xml.Directive:
			return nil, io.ErrUnexpectedEOF // refused
		}
		if err == io.EOF {
			return tokens, nil
		}
		if err != nil {
			return nil, err
		}
	}
}

// Whatever encoding/xml reads is read the same way, or refused.
func FuzzXML(f *testing.F) {
	for _, s := range []string{
		"\ufeff<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n<!-- <a> -- ><x:a xmlns:x='y' x:r = \"1&gt;2>\"\n b='\"'>t&#xe5;&amp;<b/>\r\n<![CDATA[<c>&amp;]]]></x:a>\n",
		`<a r='"/>'/>`, `<a r=">" ></a >`, `<a><!----><!-- > --><b r=""/></a>`, `<a><?b > ?></a>`, `<a>&lt;&#60;&#x3C;&quot;&apos;</a>`,
		`<a`, `<a>`, `</a>`, `<a></b>`, `<a>&b;</a>`, `<a>&#xd800;</a>`, `<!DOCTYPE a><a/>`, `<a/>x`, `<a b="1" b:r="2" r="3"/>`, `<a xmlns="x" xmlns:y="x"><y:b/><b xmlns="z"><y:c/><c/></b></a>`, `<a><![CDATA[>]]></a>`, `<?xml version="1.0" encoding="latin1"?><a/>`, `<a r=1/>`, `<>`, `<a/b>`, `<:a/>`, `<a:/>`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		want, err := standard(body)
		if err != nil {
			_, _ = sheet.Tokens(body) // must not panic
			return
		}
		if got, err := sheet.Tokens(body); err == nil {
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%q is read otherwise (-encoding/xml +got):\n%s", body, diff)
			}
		}
	})
}

// What every writer of workbooks may write is read.
func TestXML(t *testing.T) {
	t.Parallel()
	got, err := sheet.Tokens([]byte("\ufeff<?xml version=\"1.0\" encoding=\"utf-8\" standalone='yes'?>\r\n<!-- <a> -> > -->\n<x:a xmlns:x='y' x:r='0' r = \"1&gt;2>\"\n b='\"'>t&#xe5;&amp;&#xD83D;&#56832;\r\n<b/><x:b/><d xmlns='y'></d><!-- -->u<?p > ?><c r='&quot;/'/><![CDATA[<c>&amp;>]]]></x:a >\n"))
	want := []string{"start a r=1>2>", "text tå&😀\n", "start :b r=", "end :b", "start b r=", "end b", "start d r=", "end d", "text u", "start :c r=\"/", "end :c", "text <c>&amp;>]", "end a"}
	if err != nil {
		t.Fatalf("error = %v, after %q", err, got)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("read (-want +got):\n%s", diff)
	}
	for _, bad := range []string{"<a", "<a>", "</a>", "<a></b>", "<a>&b;</a>", "<a>&#xd800;</a>", "<a>&#xd83d;&#x61;</a>", "<a>&#xd83d;x</a>", "<a>&#xde00;&#xd83d;</a>", "<a>&#x110000;</a>", "<!DOCTYPE a><a/>", "<a/>x", "x<a/>", "<>", "</>", `<?xml version="1.0" encoding="latin1"?><a/>`, "<a><!-- ->", "<a><![CDATA[]]", "<![CDATA[]]>"} {
		if got, err := sheet.Tokens([]byte(bad)); err == nil {
			t.Errorf("%q is read as %q, want an error", bad, got)
		}
	}
}
