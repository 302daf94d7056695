// Command credentials-delete is the Lambda function that forgets a shop's credentials for Sitoo.
package main

import (
	"sitoo-rule/shared/app"
)

func main() {
	app.Start(app.CredentialsDelete, app.WithAccounts)
}
