package spi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/shopspring/decimal"

	"sitoo-rule/shared/bonus"
	"sitoo-rule/shared/customer"
	"sitoo-rule/shared/fault"
	"sitoo-rule/shared/order"
	"sitoo-rule/shared/rule"
	"sitoo-rule/shared/sentence"
	"sitoo-rule/shared/sitoo"
)

// maxRedemption is more than a redeem call's body needs.
const maxRedemption = 64 << 10

// BonusRedeem answers POST and PUT of
// /contacts/{contactid}/bonuschecks/{bonuscheckid}/redeem, and the same of
// promotions. One that is used already is 400 with a sentence that says so; the
// same order asking again gets its first answer.
func (e *Edge) BonusRedeem(b *bonus.Service) lambda.Handler {
	return e.redemption("bonuscheck-redeem", b.Redeem)
}

// BonusRestore answers DELETE on the same paths: the use by the order that the
// body or the query names is taken back, or else the latest. It may be repeated.
func (e *Edge) BonusRestore(b *bonus.Service) lambda.Handler {
	return e.redemption("bonuscheck-restore", b.Restore)
}

// operation is what a till does with one check or promotion.
type operation func(ctx context.Context, r *rule.Session, k bonus.Key, in bonus.Request, request string) (bonus.Answer, error)

func (e *Edge) redemption(name string, do operation) lambda.Handler {
	return e.handler(name, option{body: maxRedemption, check: sitoo.CheckOptional, first: true}, func(ctx context.Context, r *Request) (any, error) {
		id, err := contactID(r)
		if err != nil {
			return nil, err
		}
		in, err := sitoo.DecodeRedemption(r.Body)
		if err != nil {
			return nil, err
		}
		if named := strings.TrimSpace(r.Query["orderid"]); named != "" && in.OrderID == "" {
			// A DELETE's body does not survive every proxy.
			body, err := json.Marshal(map[string]string{"orderid": named})
			if err != nil {
				return nil, err
			}
			if in, err = sitoo.DecodeRedemption(body); err != nil {
				return nil, err
			}
		}
		req := bonus.Request{Kind: bonus.Check, ID: pathID(r.Path["bonuscheckid"]), Order: order.Ref(r.Account.Label, in.OrderID), Date: in.Date, Remaining: in.Remaining}
		if promotion, ok := r.Path["promotionid"]; ok {
			req.Kind, req.ID = bonus.Promotion, pathID(promotion)
		}
		r.Note("kind", req.Kind)
		a, err := do(ctx, r.Rule, bonus.Key{Account: r.Account.ID, Subscriber: id}, req, r.ID)
		if err != nil {
			return nil, err
		}
		return redeemed(req, a), nil
	})
}

// pathID returns an id that merchants choose, which API Gateway hands on
// percent-encoded as it came.
func pathID(s string) string {
	if plain, err := url.PathUnescape(s); err == nil {
		s = plain
	}
	return strings.TrimSpace(s)
}

func redeemed(r bonus.Request, a bonus.Answer) any {
	var date *string
	if a.Date != "" {
		date = &a.Date
	}
	used := !a.Remaining.IsPositive()
	if r.Kind == bonus.Promotion {
		return sitoo.RedeemedPromotion{ID: r.ID, Redeemed: used, DateRedeemed: date}
	}
	number := func(d decimal.Decimal) json.Number { return json.Number(d.StringFixed(2)) }
	return sitoo.Redeemed{ID: r.ID, Redeemed: used, DateRedeemed: date, Used: number(a.Used), Remaining: number(a.Remaining)}
}

// BonusImport answers POST /bonuschecks: a file of bonus checks, as the body or
// in a form. 202 once the whole of it is checked and queued; 400 with its first
// bad rows, and nothing is imported. What is wrong with a file is told in English
// and in Swedish, with a code. With ?dryrun=true the file is only checked,
// and the answer, 200, says what it would hand out.
func (e *Edge) BonusImport(read Sheets, phones customer.Phones, i *bonus.Importer) lambda.Handler {
	anything := func([]byte) error { return nil }
	return e.handler("bonuscheck-import", option{body: maxForm, check: anything, status: http.StatusAccepted, budget: importBudget, fresh: true}, func(ctx context.Context, r *Request) (any, error) {
		preview, err := dryrun(r)
		if err != nil {
			return nil, err
		}
		file, name, err := upload(r)
		if err != nil {
			return nil, err
		}
		switch {
		case len(bytes.TrimSpace(file)) == 0:
			return nil, fault.Say(fault.Invalid, "file_empty")
		case len(file) > maxImport:
			return nil, fault.Say(fault.TooLarge, "file_too_large", "bytes", len(file), "most", maxImport)
		}
		lines, cells, about, err := read(file)
		if err != nil {
			return nil, err
		}
		rows := func(yield func(int, []string) bool) {
			for n := 1; n < len(lines); n++ {
				if !yield(lines[n], cells[n]) {
					return
				}
			}
		}
		plan, bad, count, err := bonus.NewPlan(cells[0], rows, phones)
		r.Note("rows", plan.Rows, "bad_rows", count)
		if err != nil {
			return nil, noted(err, about)
		}
		if count > 0 {
			f := fault.Say(fault.Invalid, "file_rows_bad", "count", count)
			if count == 1 {
				f = fault.Say(fault.Invalid, "file_row_bad")
			}
			f.Detail = bad
			return nil, f
		}
		note := ""
		if about != nil {
			note, _ = sentence.Text(sentence.English, "file_sheet", about)
		}
		message := strings.TrimSpace(plan.Message() + " " + note)
		if preview {
			return Preview{Rows: plan.Rows, Customers: len(plan.Customers), Summary: plan.Summary(), Ignored: plan.Ignored, Message: message}, nil
		}
		started, err := i.Start(ctx, r.Account.ID, r.ID, name, plan)
		if err != nil {
			return nil, err
		}
		r.Note("import", started.ID, "parts", started.Parts)
		return Imported{started.ID, bonus.Queued, plan.Rows, len(plan.Customers), plan.Ignored, message}, nil
	})
}

// dryrun says whether a file is only to be checked. Who misspells it, or asks for
// something that is not done here, does not mean to import.
func dryrun(r *Request) (bool, error) {
	for name, v := range r.Query {
		on, off := switched(v)
		switch plain := strings.ToLower(strings.NewReplacer("_", "", "-", "").Replace(name)); {
		case name == "dryrun" && !on && !off:
			return false, badSwitch(name, "file_switch")
		case name == "dryrun" || off:
		case plain == "withdraw":
			return false, badSwitch(name, "file_withdraw")
		case on || plain == "dryrun":
			return false, badSwitch(name, "file_switch_unknown")
		}
	}
	v, asked := r.Query["dryrun"]
	if on, _ := switched(v); !asked || !on {
		return false, nil
	}
	r.Status = http.StatusOK
	return true, nil
}

// switched reads the value of a switch; a value that is neither is none.
func switched(v string) (on, off bool) {
	switch strings.ToLower(strings.TrimSpace(v)) {
	case "true", "1", "", "yes", "on", "ja":
		return true, false
	case "false", "0", "no", "off", "nej":
		return false, true
	}
	return false, false
}

func badSwitch(name, code string) error {
	if strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") != "" || len(name) > 60 {
		name = "?"
	}
	f := fault.Say(fault.Invalid, code, "switch", name)
	f.Member = name
	return f
}

// noted adds which worksheet was read to an error about a table.
func noted(err error, about sentence.Args) error {
	f := fault.As(err)
	if f.Kind != fault.Invalid || !sentence.OfFile(f.Code) {
		return err
	}
	return f.About(about)
}

// Imported is the answer to a file of bonus checks.
type Imported struct {
	ID        string      `json:"importid"`
	State     bonus.State `json:"state"`
	Rows      int         `json:"rows"`
	Customers int         `json:"customers"`
	Ignored   []string    `json:"ignored_columns,omitempty"` // by their headings
	// Message says what may not be as it was meant: a column of dates that is not
	// used, and worksheets that are not read.
	Message string `json:"message,omitempty"`
}

// Preview is the answer to a file of bonus checks that is only to be checked.
type Preview struct {
	Rows      int `json:"rows"`
	Customers int `json:"customers"`
	bonus.Summary
	Ignored []string `json:"ignored_columns,omitempty"`
	Message string   `json:"message,omitempty"` // as in Imported
}

// BonusImportStatus answers GET /bonuschecks/imports/{importid}, and without an
// id the account's latest imports, newest first.
func (e *Edge) BonusImportStatus(i *bonus.Importer) lambda.Handler {
	return e.handler("bonuscheck-import-status", option{}, func(ctx context.Context, r *Request) (any, error) {
		if id := r.Path["importid"]; id != "" {
			return i.Status(ctx, r.Account.ID, id)
		}
		return i.Latest(ctx, r.Account.ID)
	})
}

const (
	// maxImport is the largest file: what Lambda takes of a request, 6 MB, less a
	// quarter for base64, which is how API Gateway hands on bytes.
	maxImport = 4 << 20
	// importBudget is what API Gateway waits for an answer, 29 s, less the last notes.
	importBudget = 25 * time.Second
	// maxForm is more than Lambda takes, so that what is said of a file that is
	// too large is how to go about it.
	maxForm = 6 << 20
	// maxParts bounds the fields of a form.
	maxParts = 20
)

// upload returns the file that a request carries and its name, "" if it has
// none: the body as it is, or the one file of a form.
func upload(r *Request) (file []byte, name string, err error) {
	kind, params, _ := mime.ParseMediaType(r.ContentType)
	if !strings.HasPrefix(kind, "multipart/") {
		_, params, _ := mime.ParseMediaType(r.Disposition)
		return r.Body, params["filename"], nil
	}
	form := multipart.NewReader(bytes.NewReader(r.Body), params["boundary"])
	for n := 0; ; n++ {
		part, err := form.NextPart()
		if errors.Is(err, io.EOF) && file != nil {
			return file, name, nil
		}
		if errors.Is(err, io.EOF) || err == nil && n == maxParts {
			return nil, "", fault.Say(fault.Invalid, "file_form_none")
		}
		if err != nil {
			return nil, "", fault.Say(fault.Invalid, "file_form_wrong").With(err)
		}
		if part.FileName() == "" {
			continue // another field of the form
		}
		if file != nil {
			return nil, "", fault.Say(fault.Invalid, "file_form_many")
		}
		if file, err = io.ReadAll(part); err != nil {
			return nil, "", fault.Say(fault.Invalid, "file_form_cut").With(err)
		}
		name = part.FileName()
	}
}

// Sheets reads a file of rows: the number of each line that is not empty, as a
// spreadsheet counts, and its cells. The first is the headings. about says which
// worksheet of several it is, see sheet.Sheet. Its errors are fault.Invalid and fault.TooLarge.
type Sheets func(body []byte) (lines []int, cells [][]string, about sentence.Args, err error)
