package templatetest_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// A package that somebody has replaced since does not run on a developer's
// machine: every Python tool is held to its digests, and so is what it brings in.
func TestRequirementsHaveDigests(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob(filepath.Join(root, ".ci", "requirements*.txt"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no requirements: %v, %v", files, err)
	}
	pinned := regexp.MustCompile(`^[A-Za-z0-9._-]+(\[[a-z0-9, -]+\])?==\S+`)
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		packages := 0
		for entry := range strings.SplitSeq(strings.ReplaceAll(string(data), "\\\n", " "), "\n") {
			if entry = strings.TrimSpace(entry); entry == "" || strings.HasPrefix(entry, "#") {
				continue
			}
			packages++
			if !pinned.MatchString(entry) || !strings.Contains(entry, " --hash=sha256:") {
				t.Errorf("%s: %.60q is no package of one version with its digests", filepath.Base(file), entry)
			}
		}
		if packages == 0 {
			t.Errorf("%s names no package", filepath.Base(file))
		}
	}
	makefile, err := os.ReadFile(filepath.Join(root, "Makefile"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(makefile)) {
		if strings.Contains(line, "pip install") && !strings.Contains(line, "--require-hashes") {
			t.Errorf("the Makefile installs without digests: %s", strings.TrimSpace(line))
		}
	}
}
