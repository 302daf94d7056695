// Command bonuscheck-import-status is the Lambda function that tells how far an import of bonus checks has come.
package main

import (
	"sitoo-rule/shared/app"
)

func main() {
	app.Start(app.BonusImportStatus, app.WithAccounts, app.WithImports)
}
