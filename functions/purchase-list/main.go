// Command purchase-list is the Lambda function that lists a customer's latest purchases.
package main

import (
	"sitoo-rule/shared/app"
)

func main() {
	app.Start(app.PurchaseList, app.WithAccounts)
}
