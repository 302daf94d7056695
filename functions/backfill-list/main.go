// Command backfill-list is the Lambda function that tells how far backfills have come.
package main

import (
	"sitoo-rule/shared/app"
)

func main() {
	app.Start(app.BackfillList, app.WithAccounts, app.WithHistory)
}
