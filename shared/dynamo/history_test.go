package dynamo_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/google/go-cmp/cmp"

	"sitoo-rule/local/contract"
	"sitoo-rule/shared/dynamo"
	"sitoo-rule/shared/history"
)

// table is a DynamoDB that knows what History asks of it: the contract runs
// against it where there is no emulator.
type table struct {
	mu    sync.Mutex
	items map[[2]string]item
}

func (d *table) key(i item) [2]string {
	return [2]string{i["account"].(*types.AttributeValueMemberS).Value, i["item"].(*types.AttributeValueMemberS).Value}
}

// holds reports whether a condition of History's holds for an item.
func holds(there item, condition string, values item) bool {
	number := func(v types.AttributeValue) int64 {
		n, _ := v.(*types.AttributeValueMemberN)
		i, _ := strconv.ParseInt(n.Value, 10, 64)
		return i
	}
	switch condition {
	case "":
		return true
	case "attribute_not_exists(#account)":
		return there == nil
	case "#rev = :rev":
		return there != nil && number(there["rev"]) == number(values[":rev"])
	case "attribute_not_exists(#account) OR #finished = :false AND #done <= :done":
		return there == nil || !there["finished"].(*types.AttributeValueMemberBOOL).Value && number(there["done"]) <= number(values[":done"])
	}
	panic("unknown condition " + condition)
}

// change puts what change makes of an item in its place, under a condition.
func (d *table) change(ctx context.Context, key item, condition string, values item, failed types.ReturnValuesOnConditionCheckFailure, change func(there item) item) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	there := d.items[d.key(key)]
	if !holds(there, condition, values) {
		if failed != types.ReturnValuesOnConditionCheckFailureAllOld {
			there = nil
		}
		return conditionFailed(there)
	}
	if d.items == nil {
		d.items = map[[2]string]item{}
	}
	d.items[d.key(key)] = change(there)
	return nil
}

// BatchGetItem is not called by what keeps backfills.
func (d *table) BatchGetItem(context.Context, *dynamodb.BatchGetItemInput, ...func(*dynamodb.Options)) (*dynamodb.BatchGetItemOutput, error) {
	return nil, errors.New("not expected")
}

func (d *table) GetItem(ctx context.Context, in *dynamodb.GetItemInput, _ ...func(*dynamodb.Options)) (*dynamodb.GetItemOutput, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return &dynamodb.GetItemOutput{Item: d.items[d.key(in.Key)]}, ctx.Err()
}

func (d *table) PutItem(ctx context.Context, in *dynamodb.PutItemInput, _ ...func(*dynamodb.Options)) (*dynamodb.PutItemOutput, error) {
	return &dynamodb.PutItemOutput{}, d.change(ctx, in.Item, *in.ConditionExpression, in.ExpressionAttributeValues, in.ReturnValuesOnConditionCheckFailure,
		func(item) item { return in.Item })
}

var assignment = regexp.MustCompile(`#([a-z]+) = (?:if_not_exists\(#([a-z]+), )?(:[a-z]+)`)

func (d *table) UpdateItem(ctx context.Context, in *dynamodb.UpdateItemInput, _ ...func(*dynamodb.Options)) (*dynamodb.UpdateItemOutput, error) {
	return &dynamodb.UpdateItemOutput{}, d.change(ctx, in.Key, aws.ToString(in.ConditionExpression), in.ExpressionAttributeValues, in.ReturnValuesOnConditionCheckFailure, func(there item) item {
		now := with(in.Key, there)
		for _, set := range assignment.FindAllStringSubmatch(*in.UpdateExpression, -1) {
			now[set[1]] = in.ExpressionAttributeValues[set[3]]
			if old := there[set[2]]; old != nil {
				now[set[1]] = old
			}
		}
		return now
	})
}

func (d *table) DeleteItem(ctx context.Context, in *dynamodb.DeleteItemInput, _ ...func(*dynamodb.Options)) (*dynamodb.DeleteItemOutput, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.items, d.key(in.Key))
	return &dynamodb.DeleteItemOutput{}, ctx.Err()
}

// Query answers with a page of at most ten items.
func (d *table) Query(ctx context.Context, in *dynamodb.QueryInput, _ ...func(*dynamodb.Options)) (*dynamodb.QueryOutput, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	text := func(v types.AttributeValue) string { return v.(*types.AttributeValueMemberS).Value }
	var found [][2]string
	for k := range d.items {
		if k[0] == text(in.ExpressionAttributeValues[":account"]) && strings.HasPrefix(k[1], text(in.ExpressionAttributeValues[":prefix"])) &&
			(in.ExclusiveStartKey == nil || k[1] > d.key(in.ExclusiveStartKey)[1]) {
			found = append(found, k)
		}
	}
	slices.SortFunc(found, func(a, b [2]string) int { return strings.Compare(a[1], b[1]) })
	out := &dynamodb.QueryOutput{}
	for _, k := range found[:min(len(found), 10)] {
		out.Items = append(out.Items, d.items[k])
		out.LastEvaluatedKey = item{"account": s(k[0]), "item": s(k[1])}
	}
	return out, ctx.Err()
}

func TestHistory(t *testing.T) {
	t.Parallel()
	contract.Jobs(t, func(*testing.T) history.Jobs { return dynamo.NewHistory(&table{}, "history") })
	contract.People(t, func(*testing.T) history.People { return dynamo.NewHistory(&table{}, "history") })
}

func binaryOf(b []byte) types.AttributeValue { return &types.AttributeValueMemberB{Value: b} }

func TestHistoryFailures(t *testing.T) {
	t.Parallel()
	people := map[history.Digest]int64{{1}: 1, {2}: 2, {3}: 3}
	for name, tt := range failures {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			store := dynamo.NewHistory(failing(tt.err), "history")
			_, getErr := store.Get(t.Context(), "shop", "job")
			_, listErr := store.List(t.Context(), "shop")
			_, partErr := store.Part(t.Context(), "shop", "job", 1, "a")
			_, partsErr := store.Parts(t.Context(), "shop", "job", 1)
			known, findErr := store.Find(t.Context(), "shop", "list", []history.Digest{{1}, {2}, {1, 1}})
			if known != nil {
				t.Errorf("Find returned %v beside its error", known)
			}
			for op, err := range map[string]error{
				"Get": getErr, "List": listErr, "Part": partErr, "Parts": partsErr, "Find": findErr,
				"Put":      store.Put(t.Context(), history.Job{Account: "shop", ID: "job"}),
				"SavePart": store.SavePart(t.Context(), "shop", "job", 1, history.Part{ID: "a"}),
				"Add":      store.Add(t.Context(), "shop", "list", people),
				"Forget":   store.Forget(t.Context(), "shop", "job", 1),
			} {
				wantFailure(t, op, err, tt.err, tt.want, "account shop")
				if errors.Is(err, history.ErrChanged) || errors.Is(err, history.ErrNoJob) {
					t.Errorf("%s = %v: nobody knows that", op, err)
				}
			}
		})
	}
}

// The items are what the package's documentation says: support reads them.
func TestHistoryItems(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var updated []*dynamodb.UpdateItemInput
		var put []item
		store := dynamo.NewHistory(client{
			get: func(*dynamodb.GetItemInput) (*dynamodb.GetItemOutput, error) { return &dynamodb.GetItemOutput{}, nil },
			update: func(in *dynamodb.UpdateItemInput) (*dynamodb.UpdateItemOutput, error) {
				updated = append(updated, in)
				return &dynamodb.UpdateItemOutput{}, nil
			},
			put: func(in *dynamodb.PutItemInput) (*dynamodb.PutItemOutput, error) {
				put = append(put, in.Item)
				return &dynamodb.PutItemOutput{}, nil
			},
		}, "history")
		j := history.Job{Account: "shop", ID: "job", Rev: 7, Run: 2, State: history.Running, Phase: history.Reading, Cursor: 210334, Created: now, Updated: now}
		err := errors.Join(
			store.Put(t.Context(), j),
			store.SavePart(t.Context(), "shop", "job", 2, history.Part{ID: "a", Done: 3, Written: 3, Finished: true, Updated: now}),
			store.Add(t.Context(), "shop", "job-2", map[history.Digest]int64{{0xab, 2}: 4711, {0xab, 1}: 258}),
		)
		if err != nil {
			t.Fatal(err)
		}
		stamp := updated[0].ExpressionAttributeValues[":stamp"]
		if v, ok := stamp.(*types.AttributeValueMemberS); !ok || len(v.Value) < 20 {
			t.Errorf("stamp = %v, want a long random text", stamp)
		}
		bucket := make([]byte, 40)
		copy(bucket, []byte{0xab, 1})
		binary.BigEndian.PutUint64(bucket[12:], 258)
		copy(bucket[20:], []byte{0xab, 2})
		binary.BigEndian.PutUint64(bucket[32:], 4711)
		for i, want := range []struct{ key, values item }{
			{
				item{"account": s("shop"), "item": s("job#job")},
				item{
					":next": n("8"), ":rev": n("7"), ":stamp": stamp, ":state": s("running"), ":phase": s("reading"), ":cursor": n("210334"),
					":created": n(nowMilli), ":updated": n(nowMilli),
					":job": s(`{"account":"shop","id":"job","run":2,"from":"0001-01-01T00:00:00Z","to":"0001-01-01T00:00:00Z","state":"running","phase":"reading",` +
						`"created":"2026-03-02T09:30:00.123Z","updated":"2026-03-02T09:30:00.123Z","cursor":210334,"step":0,"read":0,"matched":0}`),
				},
			},
			{
				item{"account": s("shop"), "item": s(fmt.Sprintf("people#job-2#ab#%016x", time.Now().UnixNano()))},
				item{":people": binaryOf(bucket), ":expires": n(unix(time.Now().Add(14 * 24 * time.Hour)))},
			},
		} {
			got := updated[i].Key
			if name := got["item"].(*types.AttributeValueMemberS).Value; strings.HasPrefix(name, "people") {
				got = item{"account": got["account"], "item": s(name[:strings.LastIndexByte(name, '-')])} // what follows is random
			}
			if diff := cmp.Diff(want.key, got, unexported); diff != "" {
				t.Errorf("key (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(want.values, updated[i].ExpressionAttributeValues, unexported); diff != "" {
				t.Errorf("values (-want +got):\n%s", diff)
			}
		}
		want := []item{{
			"account": s("shop"), "item": s("part#job#2#a"), "done": n("3"), "finished": yesno(true), "updated": n(nowMilli),
			"result":  s(`{"id":"a","done":3,"written":3,"already":0,"failures":0,"finished":true,"updated":"2026-03-02T09:30:00.123Z"}`),
			"expires": n(unix(now.Add(180 * 24 * time.Hour))),
		}}
		if diff := cmp.Diff(want, put, unexported); diff != "" {
			t.Errorf("part (-want +got):\n%s", diff)
		}
	})
}

func unix(t time.Time) string { return strconv.FormatInt(t.Unix(), 10) }

// A write whose answer was lost is sent again by the SDK, and then meets what it
// wrote the first time, or what another wrote on top of it.
func TestHistoryLostAnswers(t *testing.T) {
	t.Parallel()
	j := history.Job{Account: "shop", ID: "job", Rev: 3}
	for name, tt := range map[string]struct {
		there func(stamp types.AttributeValue) item
		want  error
	}{
		"its own write":            {func(stamp types.AttributeValue) item { return item{"rev": n("4"), "stamp": stamp} }, nil},
		"its own, and another":     {func(stamp types.AttributeValue) item { return item{"rev": n("5"), "stamp": s("x"), "before": stamp} }, nil},
		"another's":                {func(types.AttributeValue) item { return item{"rev": n("4"), "stamp": s("x"), "before": s("y")} }, history.ErrChanged},
		"nothing, it was deleted":  {func(types.AttributeValue) item { return nil }, history.ErrChanged},
		"one without stamps there": {func(types.AttributeValue) item { return item{"rev": n("9")} }, history.ErrChanged},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			store := dynamo.NewHistory(client{update: func(in *dynamodb.UpdateItemInput) (*dynamodb.UpdateItemOutput, error) {
				return nil, conditionFailed(tt.there(in.ExpressionAttributeValues[":stamp"]))
			}}, "history")
			if err := store.Put(t.Context(), j); !errors.Is(err, tt.want) || tt.want == nil && err != nil {
				t.Errorf("Put = %v, want %v", err, tt.want)
			}
		})
	}
	store := dynamo.NewHistory(client{put: func(in *dynamodb.PutItemInput) (*dynamodb.PutItemOutput, error) {
		return nil, conditionFailed(in.Item)
	}}, "history")
	if err := store.SavePart(t.Context(), "shop", "job", 1, history.Part{ID: "a", Finished: true}); err != nil {
		t.Errorf("SavePart = %v, want nil: the part is as far", err)
	}
}

// Find reads one bucket for what begins alike, and no more than 16 at a time.
func TestHistoryFindReads(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var reads, now, most atomic.Int32
		store := dynamo.NewHistory(client{query: func(in *dynamodb.QueryInput) (*dynamodb.QueryOutput, error) {
			if !aws.ToBool(in.ConsistentRead) {
				t.Error("the read is not consistent")
			}
			reads.Add(1)
			for at := now.Add(1); ; {
				if old := most.Load(); at <= old || most.CompareAndSwap(old, at) {
					break
				}
			}
			time.Sleep(time.Millisecond)
			now.Add(-1)
			return &dynamodb.QueryOutput{}, nil
		}}, "history")
		var of []history.Digest
		for i := range 100 {
			of = append(of, history.Digest{byte(i % 40), byte(i)})
		}
		if got, err := store.Find(t.Context(), "shop", "list", of); err != nil || len(got) > 0 {
			t.Errorf("Find = %v, %v; want nobody", got, err)
		}
		if reads.Load() != 40 || most.Load() != 16 {
			t.Errorf("%d reads, %d at a time; want 40 and 16", reads.Load(), most.Load())
		}
	})
}

func TestHistoryDamagedItems(t *testing.T) {
	t.Parallel()
	job := item{"account": s("shop"), "item": s("job#job"), "rev": n("2"), "job": s(`{"account":"shop","id":"job"}`)}
	part := item{"account": s("shop"), "item": s("part#job#1#a"), "result": s(`{"id":"a","done":9}`), "done": n("9"), "finished": yesno(false)}
	people := item{"account": s("shop"), "item": s("people#list#01#1"), "people": binaryOf(make([]byte, 20)), "expires": n("1")}
	contacts := item{"account": s("shop"), "item": s("contacts#list#01#1"), "people": binaryOf([]byte{7: 1, 8: 2, 9: 7, 10: 7}), "expires": n("1")}
	for name, tt := range map[string]struct {
		whole     item
		attribute string
		value     types.AttributeValue
	}{
		"job is missing":        {job, "job", nil},
		"job is empty":          {job, "rev", s("")},
		"job is not JSON":       {job, "job", s("{")},
		"job is bytes":          {job, "job", binaryOf([]byte("{}"))},
		"rev is missing":        {job, "rev", nil},
		"rev is below 1":        {job, "rev", n("0")},
		"result is missing":     {part, "result", nil},
		"result is not JSON":    {part, "result", s("[")},
		"done is missing":       {part, "done", nil},
		"done is text":          {part, "done", s("9")},
		"done is another":       {part, "done", n("8")},
		"finished is missing":   {part, "finished", nil},
		"finished is a number":  {part, "finished", n("1")},
		"people is missing":     {people, "people", nil},
		"people is cut off":     {people, "people", binaryOf(make([]byte, 39))},
		"people is text":        {people, "people", s("")},
		"contacts are missing":  {contacts, "people", nil},
		"a contact's id is cut": {contacts, "people", binaryOf(make([]byte, 8))},
		"a contact is cut":      {contacts, "people", binaryOf([]byte{7: 1, 8: 2, 9: 7})},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			i := with(tt.whole, item{tt.attribute: tt.value})
			if tt.value == nil {
				delete(i, tt.attribute)
			}
			attribute := tt.attribute
			if name == "done is another" {
				attribute = "result"
			}
			store := dynamo.NewHistory(client{
				get: func(in *dynamodb.GetItemInput) (*dynamodb.GetItemOutput, error) {
					if !aws.ToBool(in.ConsistentRead) || aws.ToString(in.TableName) != "history" {
						t.Error("the read is not consistent, or of another table")
					}
					return &dynamodb.GetItemOutput{Item: i}, nil
				},
				query: func(in *dynamodb.QueryInput) (*dynamodb.QueryOutput, error) {
					if !aws.ToBool(in.ConsistentRead) {
						t.Error("the query is not consistent")
					}
					return &dynamodb.QueryOutput{Items: []item{i}}, nil
				},
				put: func(*dynamodb.PutItemInput) (*dynamodb.PutItemOutput, error) { return nil, conditionFailed(i) },
			}, "history")
			ops := map[string]error{}
			switch strings.Split(i["item"].(*types.AttributeValueMemberS).Value, "#")[0] {
			case "job":
				_, ops["Get"] = store.Get(t.Context(), "shop", "job")
				_, ops["List"] = store.List(t.Context(), "shop")
			case "part":
				_, ops["Part"] = store.Part(t.Context(), "shop", "job", 1, "a")
				_, ops["Parts"] = store.Parts(t.Context(), "shop", "job", 1)
				ops["SavePart"] = store.SavePart(t.Context(), "shop", "job", 1, history.Part{ID: "a"})
			case "people":
				_, ops["Find"] = store.Find(t.Context(), "shop", "list", []history.Digest{{1}})
			case "contacts":
				_, ops["FindContacts"] = store.FindContacts(t.Context(), "shop", "list", []int64{1})
			}
			for op, err := range ops {
				if err == nil {
					t.Errorf("%s = nil", op)
					continue
				}
				wantDamaged(t, err, "account shop", "attribute "+attribute)
			}
		})
	}
}

// Answers come in pages.
func TestHistoryPages(t *testing.T) {
	t.Parallel()
	pages := [][]item{
		{{"rev": n("1"), "job": s(`{"id":"a","created":"2026-03-02T09:30:00Z"}`)}},
		nil,
		{{"rev": n("2"), "job": s(`{"id":"b","created":"2026-03-02T09:30:01Z"}`)}},
	}
	asked := 0
	store := dynamo.NewHistory(client{query: func(in *dynamodb.QueryInput) (*dynamodb.QueryOutput, error) {
		var next item
		if asked < len(pages)-1 {
			next = item{"item": n(string(rune('0' + asked)))}
		}
		if from := in.ExclusiveStartKey["item"]; asked > 0 && cmp.Diff(n(string(rune('0'+asked-1))), from, unexported) != "" {
			t.Errorf("page %d begins at %v", asked, from)
		}
		asked++
		return &dynamodb.QueryOutput{Items: pages[asked-1], LastEvaluatedKey: next}, nil
	}}, "history")
	jobs, err := store.List(t.Context(), "shop")
	if err != nil || len(jobs) != 2 || jobs[0].ID != "b" || jobs[0].Rev != 2 || jobs[1].ID != "a" || asked != 3 {
		t.Errorf("List = %+v, %v after %d pages", jobs, err, asked)
	}
}
