package dynamo_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"sitoo-rule/shared/fault"
)

type item = map[string]types.AttributeValue

// client is a DynamoDB that answers as a test says; what a test does not
// expect panics on a nil function.
type client struct {
	batch  func(*dynamodb.BatchGetItemInput) (*dynamodb.BatchGetItemOutput, error)
	get    func(*dynamodb.GetItemInput) (*dynamodb.GetItemOutput, error)
	put    func(*dynamodb.PutItemInput) (*dynamodb.PutItemOutput, error)
	update func(*dynamodb.UpdateItemInput) (*dynamodb.UpdateItemOutput, error)
	remove func(*dynamodb.DeleteItemInput) (*dynamodb.DeleteItemOutput, error)
	query  func(*dynamodb.QueryInput) (*dynamodb.QueryOutput, error)
}

func (c client) DeleteItem(_ context.Context, in *dynamodb.DeleteItemInput, _ ...func(*dynamodb.Options)) (*dynamodb.DeleteItemOutput, error) {
	return c.remove(in)
}

func (c client) BatchGetItem(_ context.Context, in *dynamodb.BatchGetItemInput, _ ...func(*dynamodb.Options)) (*dynamodb.BatchGetItemOutput, error) {
	return c.batch(in)
}

func (c client) GetItem(_ context.Context, in *dynamodb.GetItemInput, _ ...func(*dynamodb.Options)) (*dynamodb.GetItemOutput, error) {
	return c.get(in)
}

func (c client) PutItem(_ context.Context, in *dynamodb.PutItemInput, _ ...func(*dynamodb.Options)) (*dynamodb.PutItemOutput, error) {
	return c.put(in)
}

func (c client) UpdateItem(_ context.Context, in *dynamodb.UpdateItemInput, _ ...func(*dynamodb.Options)) (*dynamodb.UpdateItemOutput, error) {
	return c.update(in)
}

func (c client) Query(_ context.Context, in *dynamodb.QueryInput, _ ...func(*dynamodb.Options)) (*dynamodb.QueryOutput, error) {
	return c.query(in)
}

// failing answers every call with err.
func failing(err error) client {
	return client{
		batch:  func(*dynamodb.BatchGetItemInput) (*dynamodb.BatchGetItemOutput, error) { return nil, err },
		get:    func(*dynamodb.GetItemInput) (*dynamodb.GetItemOutput, error) { return nil, err },
		put:    func(*dynamodb.PutItemInput) (*dynamodb.PutItemOutput, error) { return nil, err },
		update: func(*dynamodb.UpdateItemInput) (*dynamodb.UpdateItemOutput, error) { return nil, err },
		remove: func(*dynamodb.DeleteItemInput) (*dynamodb.DeleteItemOutput, error) { return nil, err },
		query:  func(*dynamodb.QueryInput) (*dynamodb.QueryOutput, error) { return nil, err },
	}
}

// updates answers one UpdateItem after another: an error as it is, an item as
// the condition having failed on it.
func updates(t *testing.T, answers ...any) client {
	return client{update: func(*dynamodb.UpdateItemInput) (*dynamodb.UpdateItemOutput, error) {
		if len(answers) == 0 {
			t.Error("one UpdateItem more than expected")
			return nil, errors.New("unexpected")
		}
		answer := answers[0]
		answers = answers[1:]
		switch a := answer.(type) {
		case item:
			return nil, conditionFailed(a)
		case *dynamodb.UpdateItemOutput:
			return a, nil
		default:
			return nil, a.(error)
		}
	}}
}

func conditionFailed(on item) error { return &types.ConditionalCheckFailedException{Item: on} }

func s(v string) types.AttributeValue { return &types.AttributeValueMemberS{Value: v} }
func n(v string) types.AttributeValue { return &types.AttributeValueMemberN{Value: v} }

// answered is the error the SDK makes of an HTTP answer.
func answered(status int, code string, f smithy.ErrorFault) error {
	return &smithy.OperationError{
		ServiceID: "DynamoDB", OperationName: "UpdateItem",
		Err: &smithyhttp.ResponseError{
			Response: &smithyhttp.Response{Response: &http.Response{StatusCode: status}},
			Err:      &smithy.GenericAPIError{Code: code, Message: "no", Fault: f},
		},
	}
}

// failures are what DynamoDB and the way there can do to a call.
var failures = map[string]struct {
	err  error
	want fault.Kind
}{
	"throttled":           {answered(400, "ProvisionedThroughputExceededException", smithy.FaultClient), fault.Unavailable},
	"too many requests":   {answered(400, "ThrottlingException", smithy.FaultClient), fault.Unavailable},
	"over the limit":      {answered(400, "RequestLimitExceeded", smithy.FaultClient), fault.Unavailable},
	"throttled, no HTTP":  {&types.ProvisionedThroughputExceededException{}, fault.Unavailable},
	"500":                 {answered(500, "InternalServerError", smithy.FaultServer), fault.Unavailable},
	"503":                 {answered(503, "", smithy.FaultUnknown), fault.Unavailable},
	"timed out":           {context.DeadlineExceeded, fault.Unavailable},
	"cancelled":           {&smithy.CanceledError{Err: context.Canceled}, fault.Unavailable},
	"connection closed":   {&net.OpError{Op: "read", Err: net.ErrClosed}, fault.Unavailable},
	"credentials expired": {answered(400, "ExpiredTokenException", smithy.FaultClient), fault.Unavailable},
	"no such table":       {answered(400, "ResourceNotFoundException", smithy.FaultClient), fault.Internal},
	"no such table, bare": {&types.ResourceNotFoundException{}, fault.Internal},
	"access denied":       {answered(400, "AccessDeniedException", smithy.FaultClient), fault.Internal},
	"not valid":           {answered(400, "ValidationException", smithy.FaultClient), fault.Internal},
	"bad input":           {smithy.InvalidParamsError{}, fault.Internal},
}
