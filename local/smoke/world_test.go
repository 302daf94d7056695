package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sitoo-rule/local/contract"
	"sitoo-rule/local/runtimeapi"
	"sitoo-rule/local/template"
)

// TestWorld makes the state of every declared function at the emulator, when
// there is one, and reads the environment through a function that was started
// with it.
func TestWorld(t *testing.T) {
	t.Parallel()
	if _, ok := contract.Emulator(t); !ok {
		return
	}
	declared, err := template.Load(filepath.Join("..", "..", "template.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	w, err := newWorld(t.Context(), declared, os.Getenv)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]string{}
	for _, f := range declared.Functions {
		env, closeState, err := w.open(t.Context(), f)
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
		p, err := runtimeapi.Start(t.Context(), runtimeapi.Options{Path: bootstrap, Name: f.ID, Env: append(env, "GREETING=hello")})
		if err != nil {
			t.Fatal(err)
		}
		res, err := p.Invoke(t.Context(), []byte(`{"text":"a"}`))
		if err != nil {
			t.Fatal(err)
		}
		var got, want any
		if json.Unmarshal(res.Payload, &got) != nil || json.Unmarshal([]byte(echoed), &want) != nil {
			t.Fatalf("reply %s", res.Payload)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: reply (-want +got):\n%s", f.ID, diff)
		}
		if err := p.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
		closeState()
	}
}
