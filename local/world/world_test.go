package world_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sitoo-rule/local/contract"
	"sitoo-rule/local/template"
	"sitoo-rule/local/world"
)

// Every declared function finds a world at the emulator, when there is one, that
// it shares with no other.
func TestWorld(t *testing.T) {
	t.Parallel()
	if _, ok := contract.Emulator(t); !ok {
		return
	}
	declared, err := template.Load(filepath.Join("..", "..", "template.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	w, err := world.New(t.Context(), declared, os.Getenv)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]string{}
	for _, f := range declared.Functions {
		env, closeState, err := w.Open(t.Context(), f)
		if err != nil {
			t.Errorf("%s: %v", f.ID, err)
			continue
		}
		if !slices.IsSorted(env) {
			t.Errorf("%s: the environment is not sorted", f.ID)
		}
		names := []string{"AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "RULE_URL"}
		for name := range f.Environment {
			if !strings.HasPrefix(name, "SSL_CERT") {
				names = append(names, name)
			}
		}
		for _, name := range names {
			i := slices.IndexFunc(env, func(kv string) bool { return strings.HasPrefix(kv, name+"=") })
			if name == "SITOO_HOSTS" { // none by default
				continue
			}
			if i < 0 || env[i] == name+"=" {
				t.Errorf("%s: %s is not set", f.ID, name)
				continue
			}
			if strings.HasSuffix(name, "_TABLE") || strings.HasSuffix(name, "_URL") && name != "AWS_ENDPOINT_URL" && name != "RULE_URL" {
				if other, has := seen[env[i]]; has {
					t.Errorf("%s shares %s with %s", f.ID, env[i], other)
				}
				seen[env[i]] = f.ID
			}
		}
		closeState()
	}
}
