package fakesitoo

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// delivered is what the connector said to one call of the till.
type delivered struct {
	URL    string `json:"url"`
	Status int    `json:"status,omitempty"`
	Body   any    `json:"body,omitempty"`
	Error  string `json:"error,omitempty"`
}

// message is what a person is told of a call that did not go well.
func (d delivered) message() string {
	body, _ := d.Body.(json.RawMessage)
	var said struct{ Message string }
	if json.Unmarshal(body, &said) == nil && said.Message != "" {
		return said.Message
	}
	if d.Error != "" {
		return d.Error
	}
	return "the connector answered " + http.StatusText(d.Status)
}

// call asks the connector as a till does: with the shop's token, and the time a
// till has. What goes wrong is in the answer, as a person reads it.
func (s *Server) call(ctx context.Context, method, path string, body []byte) delivered {
	out := delivered{URL: strings.TrimSuffix(s.o.Connector, "/") + path}
	req, err := http.NewRequestWithContext(ctx, method, out.URL, bytes.NewReader(body))
	if err != nil {
		out.Error = err.Error()
		return out
	}
	if len(body) > 0 {
		req.Header.Set("Content-Type", "application/json")
	}
	req.Header.Set("Authorization", "Bearer "+s.o.Token)
	resp, err := s.o.Client.Do(req)
	if err != nil {
		out.Error = err.Error()
		return out
	}
	defer func() { _ = resp.Body.Close() }()
	out.Status = resp.StatusCode
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxSale))
	switch {
	case err != nil:
		out.Error = "read the answer: " + err.Error()
	case json.Valid(answer):
		out.Body = json.RawMessage(answer)
	case len(answer) > 0:
		out.Body = string(answer)
	}
	return out
}

// deliver sends the copy of an order to the connector. It returns nil if there
// is none.
func (s *Server) deliver(ctx context.Context, order json.RawMessage) *delivered {
	if s.o.Connector == "" {
		return nil
	}
	out := s.call(ctx, http.MethodPost, "/transactions", order)
	return &out
}

// redeem uses the bonus checks and promotions of a sale's rows. If one is
// refused the ones before it are given back, and there is no sale.
func (s *Server) redeem(ctx context.Context, orderID int64, body sale) ([]delivered, error) {
	if s.o.Connector == "" {
		return nil, nil
	}
	var done []delivered
	var undo []string
	for i, r := range body.Rows {
		for _, use := range []struct{ kind, id, remaining string }{
			{"bonuschecks", r.BonusCheckID, r.Remaining}, {"promotions", r.PromotionID, ""},
		} {
			if use.id == "" {
				continue
			}
			if body.ContactID == "" {
				return nil, badSale("contactid: whose check rows[%d] uses is expected.", i)
			}
			path := "/contacts/" + url.PathEscape(body.ContactID) + "/" + use.kind + "/" + url.PathEscape(use.id) + "/redeem"
			said := map[string]any{"orderid": orderID, "dateredeemed": s.o.Now().UTC().Format(time.RFC3339)}
			if use.remaining != "" {
				said["remaining"] = use.remaining
			}
			text, err := json.Marshal(said)
			if err != nil {
				return nil, err
			}
			d := s.call(ctx, http.MethodPost, path, text)
			if d.Status != http.StatusOK {
				back, _ := json.Marshal(map[string]int64{"orderid": orderID}) // a number always encodes
				for _, path := range undo {
					s.call(context.WithoutCancel(ctx), http.MethodDelete, path, back)
				}
				return nil, badSale("rows[%d]: %s", i, d.message())
			}
			done, undo = append(done, d), append(undo, path)
		}
	}
	return done, nil
}
