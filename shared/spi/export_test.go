package spi

import "github.com/aws/aws-lambda-go/lambda"

// The limits of a body, and what every operation goes through.
const (
	MaxBody  = maxBody
	MaxOrder = maxOrder
	Budget   = defaultBudget
)

var (
	Answer    = answer
	ContactID = contactID
)

// Handler makes an operation of a test's own a Lambda handler.
func (e *Edge) Handler(name string, body int, op Operation) lambda.Handler {
	return e.handler(name, option{body: body}, op)
}
