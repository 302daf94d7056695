// Command history-worker is the Lambda function that brings queued old orders into Rule.
package main

import (
	_ "time/tzdata" // of the tills: Lambda's image has none

	"sitoo-rule/shared/app"
	"sitoo-rule/shared/customer/phone"
)

func main() {
	app.Start(app.HistoryWorker, app.WithAccounts, app.WithPatience, app.WithHistory, app.WithLedger, app.WithHistoryQueue, app.WithHistoryDeadLetters, app.WithBackfillQueue, app.WithBonus, app.WithBonusQueue, app.WithConsents, app.WithPhones(phone.Parser))
}
