package contract

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sitoo-rule/shared/parking"
)

// Parked tests a parking.Store.
func Parked(t *testing.T, open func(t *testing.T) parking.Store) {
	newItem := func(account string, n int) parking.Item {
		return parking.Item{
			Account: account, ID: fmt.Sprintf("%015d-a", n), Kind: parking.Order, Key: "k", Order: int64(n), Reason: "Rule refuses the shop's key",
			Parked: start, Bytes: 7, DataKey: []byte{0, 1, 0xff},
		}
	}
	t.Run("what is parked comes back in its order", func(t *testing.T) {
		t.Parallel()
		s, account, other := open(t), newID(), newID()
		var want []parking.Item
		for _, n := range []int{3, 1, 2} {
			i := newItem(account, n)
			for range 2 { // it may be repeated
				if err := s.Put(t.Context(), i, fmt.Append(nil, n)); err != nil {
					t.Fatal(err)
				}
			}
		}
		for n := 1; n <= 3; n++ {
			want = append(want, newItem(account, n))
		}
		bare := parking.Item{Account: other, ID: "1", Kind: "event", Label: "fi", Parked: start, DataKey: []byte{1}}
		if err := s.Put(t.Context(), bare, []byte("x")); err != nil {
			t.Fatal(err)
		}
		for _, tt := range []struct {
			account, after string
			limit          int
			want           []parking.Item
		}{
			{account, "", 10, want}, {account, "", 2, want[:2]}, {account, want[1].ID, 10, want[2:]}, {account, want[2].ID, 10, nil}, {other, "", 1, []parking.Item{bare}}, {newID(), "", 5, nil},
		} {
			got, err := s.List(t.Context(), tt.account, tt.after, tt.limit)
			if len(got) == 0 {
				got = nil
			}
			if diff := cmp.Diff(tt.want, got); err != nil || diff != "" {
				t.Errorf("List after %q: %v (-want +got):\n%s", tt.after, err, diff)
			}
		}
		if body, err := s.Body(t.Context(), want[1]); err != nil || string(body) != "2" {
			t.Errorf("Body = %q, %v", body, err)
		}
		for _, there := range []bool{true, false} {
			if got, err := s.Delete(t.Context(), want[1]); err != nil || got != there {
				t.Fatalf("Delete = %v, %v; want %v", got, err, there)
			}
		}
		if _, err := s.Body(t.Context(), want[1]); !errors.Is(err, parking.ErrGone) {
			t.Errorf("Body of one that is deleted: %v, want ErrGone", err)
		}
		got, err := s.List(t.Context(), account, "", 10)
		if diff := cmp.Diff([]parking.Item{want[0], want[2]}, got); err != nil || diff != "" {
			t.Errorf("List: %v (-want +got):\n%s", err, diff)
		}
	})
	t.Run("a body of any size", func(t *testing.T) {
		t.Parallel()
		s, account := open(t), newID()
		for n, size := range []int{1, 380_000, 380_001, 1_200_000} {
			i, body := newItem(account, n+1), bytes.Repeat([]byte{byte(n), 0xff}, size/2+1)[:size]
			if err := s.Put(t.Context(), i, body); err != nil {
				t.Fatal(err)
			}
			if got, err := s.Body(t.Context(), i); err != nil || !bytes.Equal(got, body) {
				t.Errorf("a body of %d bytes: %d bytes, %v", size, len(got), err)
			}
			if _, err := s.Delete(t.Context(), i); err != nil {
				t.Fatal(err)
			}
		}
	})
	t.Run("a cancelled context", func(t *testing.T) {
		t.Parallel()
		s, ctx, i := open(t), cancelled(t), newItem(newID(), 1)
		i.Parked = start.Add(time.Second)
		_, listErr := s.List(ctx, i.Account, "", 1)
		_, bodyErr := s.Body(ctx, i)
		wantUnavailable(t, "Put", s.Put(ctx, i, []byte("x")))
		wantUnavailable(t, "List", listErr)
		wantUnavailable(t, "Body", bodyErr)
		_, deleteErr := s.Delete(ctx, i)
		wantUnavailable(t, "Delete", deleteErr)
	})
}
