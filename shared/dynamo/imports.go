package dynamo

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"sitoo-rule/shared/awsfault"
	"sitoo-rule/shared/bonus"
	"sitoo-rule/shared/fault"
)

const (
	// keepImports is how long an import can be asked about.
	keepImports = 90 * 24 * time.Hour
	// maxFailures is how many bytes of JSON the failures of a part may be, so
	// that the part fits an item of 409,600 however long its reasons are.
	maxFailures = 300_000
	// maxHash is how many bytes DynamoDB takes as a partition key.
	maxHash = 2048
	// samePlace is how many of an account's imports may be created in one
	// millisecond.
	samePlace = 1000
)

// Imports is the bonus.Imports of a DynamoDB table. Its errors are
// bonus.ErrNoImport, or a fault: Unavailable when another try may help, Internal
// for a damaged item or a request that DynamoDB refuses. Times are kept to the
// millisecond.
type Imports struct {
	client Client
	table  string
}

var _ bonus.Imports = (*Imports)(nil)

// NewImports returns the imports in table.
func NewImports(client Client, table string) *Imports {
	return &Imports{client: client, table: table}
}

// Create notes an import, until 90 days after i.Created. One of that id that
// exists is left as it is.
func (s *Imports) Create(ctx context.Context, i bonus.Import) error {
	return wrapImport(s.create(ctx, i), "create", i.Account, i.ID)
}

func (s *Imports) create(ctx context.Context, i bonus.Import) error {
	put := importKey(i.Account, i.ID, 0)
	put["rows"] = number(int64(i.Rows))
	put["customers"] = number(int64(i.Customers))
	put["parts"] = number(int64(i.Parts))
	put["queued"] = &types.AttributeValueMemberBOOL{Value: i.Queued}
	put["created"] = moment(i.Created)
	put["expires"] = number(i.Created.Add(keepImports).Unix())
	if i.File != "" {
		put["file"] = text(i.File)
	}
	there, err := s.add(ctx, put, "attribute_not_exists(#import)", nil)
	if err != nil {
		return err
	}
	// The import's line in the account's list. If it is not written, Create has
	// failed, and nothing of the import is queued. The same Create again writes
	// the same line: it goes by the time that was stored.
	created := i.Created
	if there != nil {
		r := reader{item: there}
		r.must("created")
		if created = r.moment("created"); r.err != nil {
			return damaged(r.err)
		}
	}
	line := item{
		"import": text(i.Account), "id": text(i.ID),
		"expires": number(created.Add(keepImports).Unix()),
	}
	for place := range int64(samePlace) {
		line["part"] = number(created.UnixMilli()*samePlace + place)
		there, err := s.add(ctx, line, "attribute_not_exists(#import) OR #id = :id", item{":id": line["id"]})
		if err != nil || there == nil {
			return err
		}
	}
	return &fault.Error{Kind: fault.Unavailable, Err: fmt.Errorf("%d others were created in the same millisecond", samePlace)}
}

// add puts an item under a condition. It returns what was there instead if the
// condition did not hold, which may be empty but is not nil.
func (s *Imports) add(ctx context.Context, put item, condition string, values item) (there item, err error) {
	_, err = s.client.PutItem(ctx, &dynamodb.PutItemInput{
		TableName:                           aws.String(s.table),
		Item:                                put,
		ConditionExpression:                 aws.String(condition),
		ExpressionAttributeNames:            names(condition),
		ExpressionAttributeValues:           values,
		ReturnValuesOnConditionCheckFailure: types.ReturnValuesOnConditionCheckFailureAllOld,
	})
	if there, ok := refused(err); ok {
		if there == nil {
			there = item{}
		}
		return there, nil
	}
	return nil, awsfault.Wrap(err, "put item")
}

// Queue notes that every part is on the queue. bonus.ErrNoImport if there is no
// such import.
func (s *Imports) Queue(ctx context.Context, account, id string) error {
	const (
		update    = "SET #queued = :true"
		condition = "attribute_exists(#import)"
	)
	_, err := s.client.UpdateItem(ctx, &dynamodb.UpdateItemInput{
		TableName:                 aws.String(s.table),
		Key:                       importKey(account, id, 0),
		UpdateExpression:          aws.String(update),
		ConditionExpression:       aws.String(condition),
		ExpressionAttributeNames:  names(update, condition),
		ExpressionAttributeValues: item{":true": &types.AttributeValueMemberBOOL{Value: true}},
	})
	if _, ok := refused(err); ok {
		return wrapImport(bonus.ErrNoImport, "queue", account, id)
	}
	return wrapImport(awsfault.Wrap(err, "update item"), "queue", account, id)
}

// Latest returns the ids of the account's latest imports, newest first, at most
// bonus.MaxLatest. The read is strongly consistent.
func (s *Imports) Latest(ctx context.Context, account string) ([]string, error) {
	const condition = "#import = :import"
	out, err := s.client.Query(ctx, &dynamodb.QueryInput{
		TableName:                 aws.String(s.table),
		KeyConditionExpression:    aws.String(condition),
		ExpressionAttributeNames:  names(condition),
		ExpressionAttributeValues: item{":import": text(account)},
		ConsistentRead:            aws.Bool(true),
		ScanIndexForward:          aws.Bool(false),
		Limit:                     aws.Int32(bonus.MaxLatest),
	})
	if err != nil {
		return nil, fmt.Errorf("list imports of account %s: %w", account, awsfault.Wrap(err, "query"))
	}
	var ids []string
	for _, it := range out.Items {
		r := reader{item: it}
		r.must("id")
		id := r.text("id")
		if r.err != nil {
			return nil, fmt.Errorf("list imports of account %s: %w", account, damaged(r.err))
		}
		ids = append(ids, id)
	}
	return ids, nil
}

// Get returns an import and the parts that have begun, by number;
// bonus.ErrNoImport if there is none. The reads are strongly consistent.
func (s *Imports) Get(ctx context.Context, account, id string) (bonus.Import, []bonus.Part, error) {
	i, parts, err := s.get(ctx, account, id)
	if err != nil {
		return bonus.Import{}, nil, wrapImport(err, "get", account, id)
	}
	return i, parts, nil
}

func (s *Imports) get(ctx context.Context, account, id string) (i bonus.Import, parts []bonus.Part, err error) {
	key := importKey(account, id, 0)["import"]
	if len(account)+len("/")+len(id) > maxHash {
		return i, nil, bonus.ErrNoImport // ids come from outside
	}
	const condition = "#import = :import"
	found := false
	var from item
	for {
		out, err := s.client.Query(ctx, &dynamodb.QueryInput{
			TableName:                 aws.String(s.table),
			KeyConditionExpression:    aws.String(condition),
			ExpressionAttributeNames:  names(condition),
			ExpressionAttributeValues: item{":import": key},
			ConsistentRead:            aws.Bool(true),
			ExclusiveStartKey:         from,
		})
		if err != nil {
			return i, nil, awsfault.Wrap(err, "query")
		}
		for _, it := range out.Items {
			r := reader{item: it}
			r.must("part")
			if n := r.number("part"); r.err == nil && n != 0 {
				p, err := part(n, it)
				if err != nil {
					return i, nil, err
				}
				parts = append(parts, p)
				continue
			}
			found = true
			i = bonus.Import{
				Account: account, ID: id,
				File:      r.text("file"),
				Rows:      int(r.number("rows")),
				Customers: int(r.number("customers")),
				Parts:     int(r.number("parts")),
				Created:   r.moment("created"),
				Queued:    r.flag("queued"),
			}
			r.must("parts")
			r.must("created")
			if r.err != nil {
				return i, nil, damaged(r.err)
			}
		}
		if from = out.LastEvaluatedKey; len(from) == 0 {
			break
		}
	}
	if !found {
		return i, nil, bonus.ErrNoImport
	}
	return i, parts, nil
}

// Part returns the progress of a part, a Part with nothing but its number if it
// has not begun. The read is strongly consistent.
func (s *Imports) Part(ctx context.Context, account, id string, n int) (bonus.Part, error) {
	p, err := s.part(ctx, account, id, n)
	if err != nil {
		return bonus.Part{}, wrapImport(err, fmt.Sprintf("get part %d of", n), account, id)
	}
	return p, nil
}

func (s *Imports) part(ctx context.Context, account, id string, n int) (bonus.Part, error) {
	if n < 1 {
		return bonus.Part{}, fmt.Errorf("there is no part %d", n)
	}
	out, err := s.client.GetItem(ctx, &dynamodb.GetItemInput{
		TableName:      aws.String(s.table),
		Key:            importKey(account, id, int64(n)),
		ConsistentRead: aws.Bool(true),
	})
	if err != nil {
		return bonus.Part{}, awsfault.Wrap(err, "get item")
	}
	if len(out.Item) == 0 {
		return bonus.Part{Number: n}, nil
	}
	return part(int64(n), out.Item)
}

// SavePart notes a part's progress, until 90 days after p.Updated. A part that
// is finished, or whose stored Done is higher, is left as it is, which is not an
// error. The first bonus.MaxFailures failures are kept, fewer if their texts are
// too long for an item.
func (s *Imports) SavePart(ctx context.Context, account, id string, p bonus.Part) error {
	return wrapImport(s.savePart(ctx, account, id, p), fmt.Sprintf("save part %d of", p.Number), account, id)
}

func (s *Imports) savePart(ctx context.Context, account, id string, p bonus.Part) error {
	if p.Number < 1 {
		return fmt.Errorf("there is no part %d", p.Number)
	}
	put := importKey(account, id, int64(p.Number))
	put["rows"] = number(int64(p.Rows))
	put["done"] = number(int64(p.Done))
	put["written"] = number(int64(p.Written))
	put["unchanged"] = number(int64(p.Unchanged))
	put["failed"] = number(int64(p.Failed))
	put["finished"] = &types.AttributeValueMemberBOOL{Value: p.Finished}
	put["updated"] = moment(p.Updated)
	put["expires"] = number(p.Updated.Add(keepImports).Unix())
	failures, err := fitting(p.Failures)
	if err != nil {
		return err
	}
	if failures != "" {
		put["failures"] = text(failures)
	}
	if p.Reason != "" {
		put["reason"] = text(p.Reason)
	}
	if !p.Until.IsZero() {
		put["until"] = moment(p.Until)
	}
	there, err := s.add(ctx, put, "attribute_not_exists(#import) OR #finished = :false AND #done <= :done", item{
		":false": &types.AttributeValueMemberBOOL{},
		":done":  number(int64(p.Done)),
	})
	if there != nil {
		_, err = part(int64(p.Number), there) // a damaged one would stand in the way for ever
	}
	return err
}

// fitting writes as many failures as an item can hold as JSON, in order; "" for
// none.
func fitting(failures []bonus.Failure) (string, error) {
	var list []byte
	for _, f := range failures[:min(len(failures), bonus.MaxFailures)] {
		one, err := json.Marshal(f)
		if err != nil {
			return "", err
		}
		if len(list)+len(one)+len("[]") > maxFailures {
			break
		}
		list = append(append(list, ','), one...)
	}
	if len(list) == 0 {
		return "", nil
	}
	list[0] = '['
	return string(append(list, ']')), nil
}

// part reads an item of a part.
func part(n int64, i item) (bonus.Part, error) {
	r := reader{item: i}
	p := bonus.Part{
		Number:    int(n),
		Rows:      int(r.number("rows")),
		Done:      int(r.number("done")),
		Written:   int(r.number("written")),
		Unchanged: int(r.number("unchanged")),
		Failed:    int(r.number("failed")),
		Finished:  r.flag("finished"),
		Reason:    r.text("reason"),
		Until:     r.moment("until"),
		Updated:   r.moment("updated"),
	}
	r.json("failures", &p.Failures)
	r.must("done")
	r.must("finished")
	if r.err != nil {
		return bonus.Part{}, damaged(r.err)
	}
	return p, nil
}

func importKey(account, id string, part int64) item {
	return item{"import": text(account + "/" + id), "part": number(part)}
}

// wrapImport says what was attempted with which import.
func wrapImport(err error, doing, account, id string) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s import %s of account %s: %w", doing, id, account, err)
}
