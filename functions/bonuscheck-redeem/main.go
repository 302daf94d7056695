// Command bonuscheck-redeem is the Lambda function that uses a customer's bonus check or promotion, once.
package main

import (
	"sitoo-rule/shared/app"
)

func main() {
	app.Start(app.BonusRedeem, app.WithAccounts, app.WithBonus, app.WithBonusQueue)
}
