//go:build !race

package main

import "testing"

// What the README tells a newcomer to type works, word for word, against what
// `make run` starts. It is not built with the race detector, with which 20,000 old
// orders take minutes: `make test` plays it without.
func TestReadme(t *testing.T) { readme(t, nil) }
