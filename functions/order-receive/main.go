// Command order-receive is the Lambda function that takes the copy of a completed order and queues it.
package main

import (
	"sitoo-rule/shared/app"
)

func main() {
	app.Start(app.OrderReceive, app.WithAccounts, app.WithOrders, app.WithLedger, app.WithParked)
}
