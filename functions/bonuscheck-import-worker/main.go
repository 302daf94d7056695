// Command bonuscheck-import-worker is the Lambda function that brings the queued parts of an import into Rule.
package main

import (
	"sitoo-rule/shared/app"
)

func main() {
	app.Start(app.BonusImportWorker, app.WithAccounts, app.WithBonus, app.WithImports, app.WithImportsQueue, app.WithImportsDeadLetters)
}
