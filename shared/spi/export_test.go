package spi

import (
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-lambda-go/lambda"
)

// The limits of a body, and what every operation goes through.
const (
	MaxBody  = maxBody
	MaxOrder = maxOrder
	Budget   = defaultBudget
)

var ContactID = contactID

// Answer is the answer to a shop that has chosen nothing.
func Answer(value any, err error, now time.Time) events.APIGatewayProxyResponse {
	return answer(value, err, "", now)
}

// Handler makes an operation of a test's own a Lambda handler.
func (e *Edge) Handler(name string, body int, op Operation) lambda.Handler {
	return e.handler(name, option{body: body}, op)
}
