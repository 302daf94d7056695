package dynamo_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/google/go-cmp/cmp"

	"sitoo-rule/shared/bonus"
	"sitoo-rule/shared/dynamo"
	"sitoo-rule/shared/fault"
)

func TestImportsFailures(t *testing.T) {
	t.Parallel()
	for name, tt := range failures {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := dynamo.NewImports(failing(tt.err), "imports")
			_, _, getErr := s.Get(t.Context(), "shop", "file")
			latest, latestErr := s.Latest(t.Context(), "shop")
			if latestErr == nil || latest != nil || fault.KindOf(latestErr) != tt.want || !strings.Contains(latestErr.Error(), "account shop") {
				t.Errorf("Latest = %v, %v; want %v", latest, latestErr, tt.want)
			}
			_, partErr := s.Part(t.Context(), "shop", "file", 2)
			for op, err := range map[string]error{
				"Create":   s.Create(t.Context(), bonus.Import{Account: "shop", ID: "file"}),
				"Queue":    s.Queue(t.Context(), "shop", "file"),
				"Get":      getErr,
				"Part":     partErr,
				"SavePart": s.SavePart(t.Context(), "shop", "file", bonus.Part{Number: 2}),
			} {
				wantFailure(t, op, err, tt.err, tt.want, "import file of account shop")
				if errors.Is(err, bonus.ErrNoImport) {
					t.Errorf("%s = %v, want no ErrNoImport: nobody knows", op, err)
				}
			}
		})
	}
}

func yesno(v bool) types.AttributeValue { return &types.AttributeValueMemberBOOL{Value: v} }

// expires is 90 days after now, in seconds.
const expires = "1780219800"

// The items are what the package's documentation says: support reads them.
func TestImportsItems(t *testing.T) {
	t.Parallel()
	var got []item
	store := dynamo.NewImports(client{put: func(in *dynamodb.PutItemInput) (*dynamodb.PutItemOutput, error) {
		if aws.ToString(in.TableName) != "imports" {
			t.Errorf("table %q, want imports", aws.ToString(in.TableName))
		}
		got = append(got, in.Item)
		return &dynamodb.PutItemOutput{}, nil
	}}, "imports")
	for _, i := range []bonus.Import{
		{Account: "shop", ID: "file", Created: now},
		{Account: "shop", ID: "file", File: "bonus.xlsx", Rows: 10, Customers: 9, Parts: 1, Created: now, Queued: true},
	} {
		if err := store.Create(t.Context(), i); err != nil {
			t.Fatal(err)
		}
	}
	for _, p := range []bonus.Part{
		{Number: 1, Updated: now},
		{
			Number: 2, Rows: 10, Done: 9, Written: 5, Unchanged: 3, Failed: 2, Finished: true, Reason: "Rule's limit", Until: now, Updated: now,
			Failures: []bonus.Failure{{Row: 2, Column: "value", Reason: "is < 0"}, {Row: 3, Reason: "no"}},
		},
	} {
		if err := store.SavePart(t.Context(), "shop", "file", p); err != nil {
			t.Fatal(err)
		}
	}
	want := []item{
		{
			"import": s("shop/file"), "part": n("0"), "rows": n("0"), "customers": n("0"), "parts": n("0"),
			"queued": yesno(false), "created": n(nowMilli), "expires": n(expires),
		},
		{"import": s("shop"), "part": n(nowMilli + "000"), "id": s("file"), "expires": n(expires)},
		{
			"import": s("shop/file"), "part": n("0"), "file": s("bonus.xlsx"), "rows": n("10"), "customers": n("9"), "parts": n("1"),
			"queued": yesno(true), "created": n(nowMilli), "expires": n(expires),
		},
		{"import": s("shop"), "part": n(nowMilli + "000"), "id": s("file"), "expires": n(expires)},
		{
			"import": s("shop/file"), "part": n("1"), "rows": n("0"), "done": n("0"), "written": n("0"), "unchanged": n("0"), "failed": n("0"),
			"finished": yesno(false), "updated": n(nowMilli), "expires": n(expires),
		},
		{
			"import": s("shop/file"), "part": n("2"), "rows": n("10"), "done": n("9"), "written": n("5"), "unchanged": n("3"), "failed": n("2"),
			"failures": s(`[{"row":2,"column":"value","reason":"is \u003c 0"},{"row":3,"reason":"no"}]`),
			"finished": yesno(true), "reason": s("Rule's limit"), "until": n(nowMilli), "updated": n(nowMilli), "expires": n(expires),
		},
	}
	if diff := cmp.Diff(want, got, unexported); diff != "" {
		t.Errorf("items (-want +got):\n%s", diff)
	}
}

// However long the failures, a part fits an item, and the import is not stopped.
func TestImportsPartFits(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		failures []bonus.Failure
		want     int // bytes of the attribute at the most, 0 for none
	}{
		"one that fits no item": {[]bonus.Failure{{Row: 2, Reason: strings.Repeat("x", 300_000)}, {Row: 3}}, 0},
		"many long ones":        {make([]bonus.Failure, 1000), 300_000},
		"none":                  {[]bonus.Failure{}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for i := range tt.failures {
				if len(tt.failures) > 2 {
					tt.failures[i].Reason = strings.Repeat("<", 1000) // six bytes each in JSON
				}
			}
			put := false
			s := dynamo.NewImports(client{put: func(in *dynamodb.PutItemInput) (*dynamodb.PutItemOutput, error) {
				put = true
				f, has := in.Item["failures"].(*types.AttributeValueMemberS)
				if has != (tt.want > 0) || has && (len(f.Value) > tt.want || len(f.Value) < tt.want*9/10) {
					t.Errorf("failures %v, want about %d bytes", has, tt.want)
				}
				return &dynamodb.PutItemOutput{}, nil
			}}, "imports")
			if err := s.SavePart(t.Context(), "shop", "file", bonus.Part{Number: 1, Failures: tt.failures}); err != nil || !put {
				t.Errorf("SavePart = %v, put %v", err, put)
			}
		})
	}
}

// A write whose answer was lost is sent again by the SDK, and then meets what
// it wrote the first time.
func TestImportsLostAnswers(t *testing.T) {
	t.Parallel()
	there := item{"import": s("shop/file"), "part": n("1"), "done": n("19"), "finished": yesno(true)}
	store := dynamo.NewImports(client{put: func(*dynamodb.PutItemInput) (*dynamodb.PutItemOutput, error) {
		return nil, conditionFailed(there)
	}}, "imports")
	if err := store.SavePart(t.Context(), "shop", "file", bonus.Part{Number: 1, Done: 19, Finished: true}); err != nil {
		t.Errorf("SavePart = %v, want nil: the part is as far", err)
	}
	if err := dynamo.NewImports(updates(t, item(nil)), "imports").Queue(t.Context(), "shop", "file"); !errors.Is(err, bonus.ErrNoImport) {
		t.Errorf("Queue = %v, want ErrNoImport", err)
	}
}

// The line in the list goes by the time that is stored, and passes over places
// that others have taken in the same millisecond.
func TestImportsLine(t *testing.T) {
	t.Parallel()
	file := bonus.Import{Account: "shop", ID: "file", Created: now.Add(time.Hour)}
	stored := item{"import": s("shop/file"), "part": n("0"), "created": n(nowMilli)}
	other := item{"import": s("shop"), "part": n("1"), "id": s("other")}
	for name, tt := range map[string]struct {
		there []item // what the writes meet one after another, nil for nothing
		want  string // key of the last line written
		kind  fault.Kind
	}{
		"the import is there":       {[]item{stored, nil}, nowMilli + "000", 0},
		"and so are two others":     {[]item{stored, other, other, nil}, nowMilli + "002", 0},
		"it is damaged":             {[]item{{"import": s("shop/file")}}, "", fault.Internal},
		"its time is text":          {[]item{with(stored, item{"created": s("now")})}, "", fault.Internal},
		"every place has its owner": {append([]item{stored}, slices.Repeat([]item{other}, 1000)...), nowMilli + "999", fault.Unavailable},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			wrote := 0
			var line item
			store := dynamo.NewImports(client{put: func(in *dynamodb.PutItemInput) (*dynamodb.PutItemOutput, error) {
				there := tt.there[wrote]
				wrote++
				if in.Item["id"] != nil {
					line = in.Item
				}
				if there != nil {
					return nil, conditionFailed(there)
				}
				return &dynamodb.PutItemOutput{}, nil
			}}, "imports")
			err := store.Create(t.Context(), file)
			if (err != nil) != (tt.kind != 0 || tt.want == "") || err != nil && fault.KindOf(err) != tt.kind {
				t.Errorf("Create = %v, want %v", err, tt.kind)
			}
			var want item
			if tt.want != "" {
				want = item{"import": s("shop"), "part": n(tt.want), "id": s("file"), "expires": n(expires)}
			}
			if diff := cmp.Diff(want, line, unexported); diff != "" || wrote != len(tt.there) {
				t.Errorf("%d writes, the last line (-want +got):\n%s", wrote, diff)
			}
		})
	}
}

func TestImportsLatest(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		items []item
		want  []string
		bad   bool
	}{
		"none":           {nil, nil, false},
		"two":            {[]item{{"id": s("b")}, {"id": s("a")}}, []string{"b", "a"}, false},
		"id is missing":  {[]item{{"id": s("b")}, {"part": n("1")}}, nil, true},
		"id is a number": {[]item{{"id": n("1")}}, nil, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			store := dynamo.NewImports(client{query: func(in *dynamodb.QueryInput) (*dynamodb.QueryOutput, error) {
				if aws.ToBool(in.ScanIndexForward) || aws.ToInt32(in.Limit) != bonus.MaxLatest || !aws.ToBool(in.ConsistentRead) {
					t.Errorf("query %+v, want the last ten, consistently", in)
				}
				return &dynamodb.QueryOutput{Items: tt.items, LastEvaluatedKey: item{"import": s("shop")}}, nil
			}}, "imports")
			got, err := store.Latest(t.Context(), "shop")
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("Latest (-want +got):\n%s", diff)
			}
			if tt.bad {
				wantDamaged(t, err, "account shop", "attribute id")
			} else if err != nil {
				t.Errorf("Latest: %v", err)
			}
		})
	}
}

// whole items of an import and of its parts 1 and 2.
func imported() []item {
	part := item{
		"import": s("shop/file"), "part": n("1"), "rows": n("10"), "done": n("9"), "written": n("5"), "unchanged": n("3"), "failed": n("2"),
		"failures": s(`[{"row":2,"reason":"no"}]`), "finished": yesno(false), "reason": s("Rule's limit"), "until": n(nowMilli), "updated": n(nowMilli), "expires": n(expires),
	}
	return []item{
		{
			"import": s("shop/file"), "part": n("0"), "file": s("bonus.xlsx"), "rows": n("10"), "customers": n("9"), "parts": n("2"),
			"queued": yesno(true), "created": n(nowMilli), "expires": n(expires),
		},
		part, with(part, item{"part": n("2")}),
	}
}

// answering is a DynamoDB whose queries give one page after another.
func answering(t *testing.T, pages ...[]item) client {
	asked := 0
	return client{query: func(in *dynamodb.QueryInput) (*dynamodb.QueryOutput, error) {
		if !aws.ToBool(in.ConsistentRead) || aws.ToString(in.TableName) != "imports" {
			t.Errorf("query of %s, consistent: %v", aws.ToString(in.TableName), aws.ToBool(in.ConsistentRead))
		}
		var from, next item
		if asked > 0 {
			from = item{"import": s("shop/file"), "part": n(string(rune('0' + asked)))}
		}
		if diff := cmp.Diff(from, in.ExclusiveStartKey, unexported); diff != "" {
			t.Errorf("page %d begins (-want +got):\n%s", asked, diff)
		}
		page := pages[asked]
		asked++
		if asked < len(pages) {
			next = item{"import": s("shop/file"), "part": n(string(rune('0' + asked)))}
		}
		return &dynamodb.QueryOutput{Items: page, LastEvaluatedKey: next}, nil
	}}
}

func TestImportsPages(t *testing.T) {
	t.Parallel()
	all := imported()
	part := bonus.Part{
		Number: 1, Rows: 10, Done: 9, Written: 5, Unchanged: 3, Failed: 2, Failures: []bonus.Failure{{Row: 2, Reason: "no"}},
		Reason: "Rule's limit", Until: now, Updated: now,
	}
	second := part
	second.Number = 2
	want := bonus.Import{Account: "shop", ID: "file", File: "bonus.xlsx", Rows: 10, Customers: 9, Parts: 2, Created: now, Queued: true}
	for name, pages := range map[string][][]item{
		"one page":              {all},
		"a page each":           {all[:1], all[1:2], all[2:]},
		"an empty page between": {all[:2], nil, all[2:]},
		"an empty page at last": {all, nil},
	} {
		got, parts, err := dynamo.NewImports(answering(t, pages...), "imports").Get(t.Context(), "shop", "file")
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: import (-want +got):\n%s", name, diff)
		}
		if diff := cmp.Diff([]bonus.Part{part, second}, parts); diff != "" {
			t.Errorf("%s: parts (-want +got):\n%s", name, diff)
		}
	}
	for name, pages := range map[string][][]item{"nothing": {nil}, "parts alone": {all[1:]}, "nothing on two pages": {nil, nil}} {
		got, parts, err := dynamo.NewImports(answering(t, pages...), "imports").Get(t.Context(), "shop", "file")
		if !errors.Is(err, bonus.ErrNoImport) || got.ID != "" || parts != nil {
			t.Errorf("%s: Get = %+v, %v, %v; want ErrNoImport", name, got, parts, err)
		}
	}
}

func TestImportsDamagedItems(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		item      int
		attribute string
		value     types.AttributeValue
	}{
		"import: part is text":     {0, "part", s("0")},
		"import: part is missing":  {0, "part", nil},
		"import: file is a number": {0, "file", n("1")},
		"import: rows is text":     {0, "rows", s("ten")},
		"customers is a list":      {0, "customers", &types.AttributeValueMemberL{}},
		"parts is a fraction":      {0, "parts", n("0.5")},
		"parts is missing":         {0, "parts", nil},
		"created is text":          {0, "created", s("2026-03-02")},
		"created is missing":       {0, "created", nil},
		"queued is text":           {0, "queued", s("true")},
		"rows is text":             {1, "rows", s("ten")},
		"done is text":             {1, "done", s("9")},
		"done is missing":          {1, "done", nil},
		"written is null":          {1, "written", &types.AttributeValueMemberNULL{}},
		"unchanged is text":        {1, "unchanged", s("")},
		"failed is huge":           {1, "failed", n("1e90")},
		"failures is a list":       {1, "failures", &types.AttributeValueMemberL{}},
		"failures is not JSON":     {1, "failures", s("[{")},
		"failures is an object":    {1, "failures", s("{}")},
		"finished is a number":     {1, "finished", n("1")},
		"finished is missing":      {1, "finished", nil},
		"reason is a number":       {1, "reason", n("1")},
		"until is text":            {1, "until", s("soon")},
		"updated is text":          {1, "updated", s("now")},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			all := imported()
			all[tt.item][tt.attribute] = tt.value
			if tt.value == nil {
				delete(all[tt.item], tt.attribute)
			}
			i, parts, err := dynamo.NewImports(answering(t, all), "imports").Get(t.Context(), "shop", "file")
			wantDamaged(t, err, "import file of account shop", "attribute "+tt.attribute)
			if i.ID != "" || parts != nil {
				t.Errorf("Get returned %+v, %v beside its error", i, parts)
			}
			if tt.item == 0 {
				return
			}
			s := dynamo.NewImports(client{
				get: func(in *dynamodb.GetItemInput) (*dynamodb.GetItemOutput, error) {
					if !aws.ToBool(in.ConsistentRead) {
						t.Error("the read is not consistent")
					}
					return &dynamodb.GetItemOutput{Item: all[tt.item]}, nil
				},
				put: func(*dynamodb.PutItemInput) (*dynamodb.PutItemOutput, error) {
					return nil, conditionFailed(all[tt.item])
				},
			}, "imports")
			p, err := s.Part(t.Context(), "shop", "file", 1)
			wantDamaged(t, err, "import file of account shop", "attribute "+tt.attribute)
			if diff := cmp.Diff(bonus.Part{}, p); diff != "" {
				t.Errorf("Part returned a part beside its error:\n%s", diff)
			}
			wantDamaged(t, s.SavePart(t.Context(), "shop", "file", bonus.Part{Number: 1, Updated: now.Add(time.Hour)}), "attribute "+tt.attribute)
		})
	}
}
