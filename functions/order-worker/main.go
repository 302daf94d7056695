// Command order-worker is the Lambda function that brings queued orders into Rule.
package main

import (
	_ "time/tzdata" // of the tills: Lambda's image has none

	"sitoo-rule/shared/app"
	"sitoo-rule/shared/customer/phone"
)

func main() {
	app.Start(app.OrderWorker, app.WithAccounts, app.WithOrders, app.WithDeadLetters, app.WithLedger, app.WithParked, app.WithBonus, app.WithBonusQueue, app.WithConsents, app.WithPhones(phone.Parser))
}
