package spi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
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
// bad rows, and nothing is imported. With ?dryrun=true the file is only checked,
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
			return nil, fault.New(fault.Invalid, "The file is empty; a spreadsheet or text file of bonus checks is expected.")
		case len(file) > maxImport:
			return nil, fault.New(fault.TooLarge, "The file has %d bytes, and at most %d are taken at once. Split it, each part with the headings, or send it with make import, which does that.", len(file), maxImport)
		}
		lines, cells, note, err := read(file)
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
			return nil, noted(err, note)
		}
		if count > 0 {
			rows := "rows"
			if count == 1 {
				rows = "row"
			}
			return nil, &fault.Error{
				Kind: fault.Invalid, Detail: bad,
				Message: fmt.Sprintf("Nothing was imported: %d %s cannot be read. detail says why.", count, rows),
			}
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

// dryrun says whether a file is only to be checked. Whoever misspells it does not
// mean to import.
func dryrun(r *Request) (bool, error) {
	v, asked := r.Query["dryrun"]
	if !asked {
		return false, nil
	}
	switch strings.ToLower(strings.TrimSpace(v)) {
	case "false", "0":
		return false, nil
	case "true", "1", "":
		r.Status = http.StatusOK
		return true, nil
	}
	return false, fault.Bad("dryrun", "is neither true nor false")
}

// noted adds which worksheet was read to an error about a table.
func noted(err error, note string) error {
	f := fault.As(err)
	if note == "" || f.Kind != fault.Invalid {
		return err
	}
	told := *f
	told.Message += ". " + strings.TrimSuffix(note, ".") // of a member: the end comes with the answer
	return &told
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
	const want = "one file is expected, as curl sends it with -F file=@bonuschecks.xlsx"
	form := multipart.NewReader(bytes.NewReader(r.Body), params["boundary"])
	for n := 0; ; n++ {
		part, err := form.NextPart()
		if errors.Is(err, io.EOF) && file != nil {
			return file, name, nil
		}
		if errors.Is(err, io.EOF) || err == nil && n == maxParts {
			return nil, "", fault.New(fault.Invalid, "The form holds no file; "+want+".")
		}
		if err != nil {
			return nil, "", fault.Wrap(fault.Invalid, err, "The form is not multipart/form-data as its header says; "+want+".")
		}
		if part.FileName() == "" {
			continue // another field of the form
		}
		if file != nil {
			return nil, "", fault.New(fault.Invalid, "The form holds more than one file; "+want+".")
		}
		if file, err = io.ReadAll(part); err != nil {
			return nil, "", fault.Wrap(fault.Invalid, err, "The form breaks off; "+want+".")
		}
		name = part.FileName()
	}
}

// Sheets reads a file of rows: the number of each line that is not empty, as a
// spreadsheet counts, and its cells. The first is the headings. note says which
// worksheet of several it is. Its errors are fault.Invalid and fault.TooLarge.
type Sheets func(body []byte) (lines []int, cells [][]string, note string, err error)
