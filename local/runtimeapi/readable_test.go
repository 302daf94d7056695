package runtimeapi_test

import (
	"testing"

	"sitoo-rule/local/runtimeapi"
)

func TestReadable(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, reply, want string }{
		{"object", `{"b":1.50,"a":"<å>"}`, "{\n  \"a\": \"<å>\",\n  \"b\": 1.50\n}"},
		{"body of JSON", `{"body":"[{\"a\":null}]"}`, "{\n  \"body\": [\n    {\n      \"a\": null\n    }\n  ]\n}"},
		{"body of text", `{"body":"no, thanks"}`, "{\n  \"body\": \"no, thanks\"\n}"},
		{"empty body", `{"body":""}`, "{\n  \"body\": \"\"\n}"},
		{"array", `[]`, `[]`},
		{"null", `null`, `null`},
		{"not JSON", `{"a":`, `{"a":`},
		{"nothing", ``, ``},
	}
	for _, tt := range tests {
		if got := runtimeapi.Readable([]byte(tt.reply)); got != tt.want {
			t.Errorf("%s: got %s, want %s", tt.name, got, tt.want)
		}
	}
}
