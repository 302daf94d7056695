package templatetest_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Each claim of docs/security.md names a test, and each of those exists: a claim
// whose test was renamed or removed is none.
func TestSecurityClaimsAreProven(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile(filepath.Join(root, "docs", "security.md"))
	if err != nil {
		t.Fatal(err)
	}
	named := regexp.MustCompile("`((?:local|shared|functions)/[a-z/0-9]+) ([A-Z][A-Za-z0-9]*)`")
	sources := map[string]string{}
	claims := 0
	for line := range strings.Lines(string(data)) {
		claim, ok := strings.CutPrefix(line, "- ")
		if !ok {
			continue
		}
		claims++
		proofs := named.FindAllStringSubmatch(claim, -1)
		if len(proofs) == 0 {
			t.Errorf("no test is named for: %s", claim)
		}
		for _, p := range proofs {
			folder, name := p[1], p[2]
			if _, read := sources[folder]; !read {
				files, err := filepath.Glob(filepath.Join(root, folder, "*.go"))
				if err != nil || len(files) == 0 {
					t.Errorf("there is no package %s", folder)
				}
				for _, f := range files {
					source, err := os.ReadFile(f)
					if err != nil {
						t.Fatal(err)
					}
					// Tests, and the suites that two stores have in common.
					if strings.HasSuffix(f, "_test.go") || folder == "local/contract" {
						sources[folder] += string(source)
					}
				}
			}
			if !strings.Contains(sources[folder], "\nfunc "+name+"(t *testing.T") {
				t.Errorf("%s has no test %s, which is named for: %s", folder, name, claim)
			}
		}
	}
	if claims < 20 {
		t.Errorf("%d claims, want what each stranger can do", claims)
	}
}
