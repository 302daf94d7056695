package fault_test

import (
	"errors"
	"fmt"
	"io"
	"reflect"
	"testing"
	"time"

	"sitoo-rule/shared/fault"
)

var kinds = map[fault.Kind]string{
	fault.Internal: "internal", fault.Invalid: "invalid", fault.TooLarge: "too_large", fault.Unauthorized: "unauthorized",
	fault.NotFound: "not_found", fault.Conflict: "conflict", fault.Busy: "busy", fault.Unavailable: "unavailable",
	-1: "internal", 99: "internal",
}

func TestKindString(t *testing.T) {
	t.Parallel()
	for k, want := range kinds {
		if got := k.String(); got != want {
			t.Errorf("Kind(%d) = %q, want %q", k, got, want)
		}
	}
	if k := (&fault.Error{}).Kind; k != fault.Internal {
		t.Errorf("the kind of an error that names none = %v, want internal", k)
	}
}

func TestError(t *testing.T) {
	t.Parallel()
	cause := errors.New("read: connection reset")
	for _, tt := range []struct {
		err  error
		want string
	}{
		{&fault.Error{}, "internal"},
		{&fault.Error{Kind: fault.Busy, RetryAt: time.Now()}, "busy"},
		{&fault.Error{Kind: fault.Unavailable, Err: cause}, "unavailable: read: connection reset"},
		{fault.New(fault.NotFound, "There is no customer %d.", 7), "not_found: There is no customer 7."},
		{fault.Bad("email", "has %d characters", 300), "invalid email: has 300 characters"},
		{fault.Wrap(fault.Conflict, cause, "write %s", "it"), "conflict: write it: read: connection reset"},
		{fault.Wrap(fault.Conflict, cause, ""), "conflict: read: connection reset"},
		{&fault.Error{Kind: fault.Invalid, Member: "phone", Message: "is not a number", Err: cause}, "invalid phone: is not a number: read: connection reset"},
	} {
		if got := tt.err.Error(); got != tt.want {
			t.Errorf("text of %#v = %q, want %q", tt.err, got, tt.want)
		}
	}
}

func TestBad(t *testing.T) {
	t.Parallel()
	if got, want := *fault.Bad("email", "is not %s", "one"), (fault.Error{Kind: fault.Invalid, Member: "email", Message: "is not one"}); !reflect.DeepEqual(got, want) {
		t.Errorf("Bad = %+v, want %+v", got, want)
	}
}

func TestWrap(t *testing.T) {
	t.Parallel()
	if err := fault.Wrap(fault.Internal, nil, "nothing"); err != nil {
		t.Errorf("Wrap(nil) = %v, want nil", err)
	}
	err := fault.Wrap(fault.Unavailable, fmt.Errorf("read: %w", io.ErrUnexpectedEOF), "get it")
	if !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("%v does not keep its cause", err)
	}
	// The outermost kind counts: whoever wraps knows better.
	if got := fault.KindOf(fault.Wrap(fault.NotFound, err, "find it")); got != fault.NotFound {
		t.Errorf("kind = %v, want not_found", got)
	}
}

func TestAs(t *testing.T) {
	t.Parallel()
	invalid := fault.Bad("email", "is odd")
	plain := errors.New("x")
	for name, tt := range map[string]struct {
		err  error
		want fault.Kind
		same *fault.Error
	}{
		"itself":       {invalid, fault.Invalid, invalid},
		"wrapped":      {fmt.Errorf("a: %w", fmt.Errorf("b: %w", invalid)), fault.Invalid, invalid},
		"joined":       {errors.Join(plain, invalid, fault.New(fault.Busy, "")), fault.Invalid, invalid},
		"without kind": {plain, fault.Internal, nil},
	} {
		got := fault.As(tt.err)
		if got == nil || got.Kind != tt.want || fault.KindOf(tt.err) != tt.want {
			t.Errorf("%s: As = %+v, KindOf = %v; want %v", name, got, fault.KindOf(tt.err), tt.want)
			continue
		}
		if tt.same != nil && got != tt.same {
			t.Errorf("%s: As = %+v, want the very error", name, got)
		}
		if tt.same == nil && !errors.Is(got, plain) {
			t.Errorf("%s: As = %+v, want it to keep the cause", name, got)
		}
	}
	if got := fault.As(nil); got != nil {
		t.Errorf("As(nil) = %+v, want nil", got)
	}
	if got := fault.KindOf(nil); got != fault.Internal {
		t.Errorf("KindOf(nil) = %v, want internal", got)
	}
}

func TestSince(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)
	err := fault.Since(fault.New(fault.Busy, "not now"), at)
	for _, e := range []error{err, fmt.Errorf("write: %w", err), errors.Join(errors.New("x"), err)} {
		if got := fault.SinceOf(e); !got.Equal(at) {
			t.Errorf("SinceOf(%v) = %v", e, got)
		}
		if fault.KindOf(e) != fault.Busy || fault.As(e).Message != "not now" {
			t.Errorf("%v has lost its kind", e)
		}
	}
	if err.Error() != "busy: not now" {
		t.Errorf("it says %q", err)
	}
	if fault.Since(nil, at) != nil || !fault.SinceOf(nil).IsZero() || !fault.SinceOf(errors.New("x")).IsZero() {
		t.Error("nothing has failed since")
	}
}
