// Command backfill-worker is the Lambda function that reads old orders from Sitoo and queues them.
package main

import (
	"sitoo-rule/shared/app"
	"sitoo-rule/shared/customer/phone"
)

func main() {
	app.Start(app.BackfillWorker, app.WithAccounts, app.WithSitoo, app.WithHistory, app.WithBackfillQueue, app.WithBackfillDeadLetters, app.WithHistoryQueue, app.WithLedger, app.WithPhones(phone.Parser))
}
