// Command bonuscheck-restore is the Lambda function that takes the use of a bonus check or promotion back.
package main

import (
	"sitoo-rule/shared/app"
)

func main() {
	app.Start(app.BonusRestore, app.WithAccounts, app.WithBonus, app.WithBonusQueue)
}
