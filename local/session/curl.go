package session

import (
	"bytes"
	"io"
	"mime/multipart"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Curl does what a line of curl's would: -H, -d, -X, -F with one file and a URL,
// with words in single quotes. It returns the status and the body.
func (s Session) Curl(t *testing.T, line string) (status int, body string) {
	t.Helper()
	var words []string
	for _, m := range regexp.MustCompile(`'([^']*)'|(\S+)`).FindAllStringSubmatch(line, -1) {
		words = append(words, m[1]+m[2])
	}
	method, url, data := "", "", ""
	header := http.Header{}
	for i := 1; i < len(words); i++ {
		switch words[i] {
		case "-H":
			i++
			name, value, _ := strings.Cut(words[i], ": ")
			header.Set(name, value)
		case "-X":
			i++
			method = words[i]
		case "-d":
			i++
			data = s.local(words[i])
			header.Set("Content-Type", "application/x-www-form-urlencoded") // curl's own
		case "-F":
			i++
			data = form(t, words[i], header)
		default:
			url = s.local(words[i])
		}
	}
	if method == "" {
		method = http.MethodGet
		if data != "" {
			method = http.MethodPost
		}
	}
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(data))
	if err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	req.Header = header
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(b)
}

// local turns addresses of the page into those of this run.
func (s Session) local(text string) string {
	if s.Address == nil {
		return text
	}
	return s.Address.Replace(text)
}

// form is a form with one file, given as file=@name.
func form(t *testing.T, field string, header http.Header) string {
	t.Helper()
	name, path, ok := strings.Cut(field, "=@")
	if !ok {
		t.Fatalf("-F %s is not a file", field)
	}
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	part, err := w.CreateFormFile(name, filepath.Base(path))
	if err != nil {
		t.Fatal(err)
	}
	_, _ = part.Write(content)
	_ = w.Close()
	header.Set("Content-Type", w.FormDataContentType())
	return b.String()
}
