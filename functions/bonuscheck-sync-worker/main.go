// Command bonuscheck-sync-worker is the Lambda function that completes Rule's copy of bonus checks after a use.
package main

import (
	"sitoo-rule/shared/app"
)

func main() {
	app.Start(app.BonusSyncWorker, app.WithAccounts, app.WithBonus, app.WithBonusQueue, app.WithBonusDeadLetters)
}
