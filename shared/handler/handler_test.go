package handler_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"sitoo-rule/shared/handler"
)

type message struct {
	Text string `json:"text"`
}

func TestOf(t *testing.T) {
	t.Parallel()
	h := handler.Of(func(_ context.Context, in message) (message, error) {
		if in.Text == "no" {
			return message{}, errors.New("refused")
		}
		return message{"<" + in.Text + "> & more"}, nil
	})
	for payload, want := range map[string]string{
		`{"text":"a"}`:  `{"text":"<a> & more"}`,
		`{"text":"no"}`: "refused",
		`{"text":`:      "decode event: unexpected end of JSON input",
	} {
		got, err := h.Invoke(t.Context(), []byte(payload))
		if err != nil {
			got = []byte(err.Error())
		}
		if string(got) != want {
			t.Errorf("%s gives %s, want %s", payload, got, want)
		}
	}
}

// An answer stays what it is while others are made.
func TestConcurrent(t *testing.T) {
	t.Parallel()
	h := handler.Of(func(_ context.Context, in message) (message, error) { return in, nil })
	answers := make([][]byte, 200)
	var wg sync.WaitGroup
	for i := range answers {
		wg.Go(func() { answers[i], _ = h.Invoke(context.Background(), fmt.Appendf(nil, `{"text":"%d"}`, i)) })
	}
	wg.Wait()
	for i, got := range answers {
		if want := fmt.Sprintf(`{"text":"%d"}`, i); string(got) != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}
