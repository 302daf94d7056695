// Command backfill-control is the Lambda function that pauses, resumes and cancels a backfill.
package main

import (
	"sitoo-rule/shared/app"
)

func main() {
	app.Start(app.BackfillControl, app.WithAccounts, app.WithHistory, app.WithBackfillQueue)
}
