package fakesitoo

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/url"
	"strconv"
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
	var said struct {
		Message string
		Data    struct{ Message string } `json:"error_data"` // v2's
	}
	if json.Unmarshal(body, &said) == nil && said.Message+said.Data.Message != "" {
		return said.Message + said.Data.Message
	}
	if d.Error != "" {
		return d.Error
	}
	return "the connector answered " + http.StatusText(d.Status)
}

// call asks the connector as a till does: with the shop's token, and the time a
// till has. What goes wrong is in the answer, as a person reads it.
func (s *Server) call(ctx context.Context, method, path string, body []byte) delivered {
	return s.request(ctx, method, path, body, func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+s.o.Token) })
}

// callV2 is call below v2's URL, where Sitoo identifies itself by a user name
// and a password.
func (s *Server) callV2(ctx context.Context, method, path string, body []byte) delivered {
	return s.request(ctx, method, "/v2"+path, body, func(r *http.Request) { r.SetBasicAuth("sitoo", s.o.Token) })
}

func (s *Server) request(ctx context.Context, method, path string, body []byte, identify func(*http.Request)) delivered {
	out := delivered{URL: strings.TrimSuffix(s.o.Connector, "/") + path}
	req, err := http.NewRequestWithContext(ctx, method, out.URL, bytes.NewReader(body))
	if err != nil {
		out.Error = err.Error()
		return out
	}
	if len(body) > 0 {
		req.Header.Set("Content-Type", "application/json")
	}
	identify(req)
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
	if s.o.Connector == "" || s.o.SPI == 2 {
		return nil
	}
	out := s.call(ctx, http.MethodPost, "/transactions", order)
	return &out
}

// redeemV2 is redeem in one call of v2, which uses all or none.
func (s *Server) redeemV2(ctx context.Context, orderID int64, body sale) ([]delivered, error) {
	type check struct {
		ID    string `json:"bonus_check_id"`
		Value string `json:"value,omitempty"`
	}
	type promotion struct {
		ID string `json:"promotion_id"`
	}
	in := struct {
		Checks     []check     `json:"bonus_checks"`
		Promotions []promotion `json:"promotions"`
		OrderID    string      `json:"transaction_id"`
	}{[]check{}, []promotion{}, strconv.FormatInt(orderID, 10)}
	for _, r := range body.Rows {
		if r.BonusCheckID != "" {
			in.Checks = append(in.Checks, check{r.BonusCheckID, r.Discount})
		}
		if r.PromotionID != "" {
			in.Promotions = append(in.Promotions, promotion{r.PromotionID})
		}
	}
	switch {
	case len(in.Checks)+len(in.Promotions) == 0 || s.o.Connector == "":
		return nil, nil
	case body.ContactID == "":
		return nil, badSale("contactid: whose checks the sale uses is expected.")
	}
	text, err := json.Marshal(in)
	if err != nil {
		return nil, err
	}
	d := s.callV2(ctx, http.MethodPost, "/customers/"+url.PathEscape(body.ContactID)+"/redeem", text)
	if d.Status != http.StatusOK {
		return nil, badSale("redeem: %s", d.message())
	}
	return []delivered{d}, nil
}

// The keys by which v1 and v2 name the same thing on orders and their rows.
var keysV2 = map[string]string{
	"customcrm-contactid": "crm-customerid", "customcrm-membernumber": "crm-membernumber",
	bonusCheckKey: "crm-bonuscheckid", promotionKey: "crm-promotionid",
}

// renamed returns additional data with v1's keys as v2's, or back.
func renamed(data map[string]string, back bool) map[string]string {
	out := maps.Clone(data)
	for v1, v2 := range keysV2 {
		from, to := v1, v2
		if back {
			from, to = v2, v1
		}
		if v, has := out[from]; has {
			delete(out, from)
			out[to] = v
		}
	}
	return out
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
