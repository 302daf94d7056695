// Command bonuscheck-import is the Lambda function that checks a whole file of bonus checks and queues its parts.
package main

import (
	"sitoo-rule/shared/app"
	"sitoo-rule/shared/customer/phone"
	"sitoo-rule/shared/sheet"
)

func main() {
	app.Start(app.BonusImport, app.WithAccounts, app.WithImports, app.WithImportsQueue, app.WithPhones(phone.Parser), app.WithSheets(sheet.Lines))
}
