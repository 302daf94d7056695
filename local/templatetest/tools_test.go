package templatetest_test

import (
	"os"
	"os/exec"
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

// No production stack is deployed without anyone having said who is mailed when
// something is wrong, and what was said reaches the right stage whole.
func TestProductionAsksWhoIsMailed(t *testing.T) {
	t.Parallel()
	script, err := filepath.Abs(filepath.Join(root, ".ci", "alarm-email"))
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		email string
		path  string // "" if it is refused
		want  string
	}{
		"not said":         {"", "", ""},
		"no address":       {"alarms", "", ""},
		"two":              {"a@example.com,b@example.com", "", ""},
		"more than one":    {`a@example.com" "LogLevel=DEBUG`, "", ""},
		"an address":       {"alarms@example.com", ".aws-sam/samconfig-prod.toml", `"AlarmEmail=alarms@example.com",`},
		"nobody":           {"none", ".aws-sam/samconfig-prod.toml", `"AlarmEmail=",`},
		"what is set":      {"keep", "samconfig.toml", ""},
		"a plus and a dot": {"on.call+crm@example.com", ".aws-sam/samconfig-prod.toml", `"AlarmEmail=on.call+crm@example.com",`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir() // a checkout of its own
			if err := os.Mkdir(filepath.Join(dir, ".ci"), 0o700); err != nil {
				t.Fatal(err)
			}
			config, err := os.ReadFile(filepath.Join(root, "samconfig.toml"))
			if err != nil {
				t.Fatal(err)
			}
			text, err := os.ReadFile(script)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, "samconfig.toml"), config, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, ".ci", "alarm-email"), text, 0o700); err != nil {
				t.Fatal(err)
			}
			cmd := exec.CommandContext(t.Context(), "bash", filepath.Join(dir, ".ci", "alarm-email"))
			cmd.Env = append(os.Environ(), "ALARM_EMAIL="+tt.email)
			out, err := cmd.Output()
			if (err == nil) != (tt.path != "") || strings.TrimSpace(string(out)) != tt.path {
				t.Fatalf("answers %q, %v; want %q", out, err, tt.path)
			}
			if tt.want == "" {
				return
			}
			made, err := os.ReadFile(filepath.Join(dir, tt.path))
			if err != nil {
				t.Fatal(err)
			}
			_, prod, _ := strings.Cut(string(made), "[prod.deploy.parameters]")
			if strings.Count(string(made), "AlarmEmail=") != 1 || !strings.Contains(prod, "\n  "+tt.want+"\n") {
				t.Errorf("the configuration is %s\nwant %s in the parameters of prod alone", made, tt.want)
			}
			if rest := strings.Replace(string(made), "  "+tt.want+"\n", "", 1); rest != string(config) {
				t.Errorf("something else changed: %s", rest)
			}
		})
	}
}
