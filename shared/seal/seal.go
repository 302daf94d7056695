// Package seal makes secrets safe to store. Both of its sealers bind the
// account id to the sealed bytes: what was sealed for one account does not open
// for another. A secret is 1 to 4096 bytes, KMS's limit, and appears in no
// error.
package seal

import (
	"fmt"

	"sitoo-rule/shared/fault"
)

// MaxSecret is the longest secret in bytes.
const MaxSecret = 4096

// check holds both sealers to the same secrets.
func check(accountID, secret string) error {
	switch {
	case accountID == "":
		return &fault.Error{Kind: fault.Internal, Err: fmt.Errorf("seal: no account id to bind the secret to")}
	case secret == "":
		return &fault.Error{Kind: fault.Invalid, Err: fmt.Errorf("seal for account %s: the secret is empty", accountID)}
	case len(secret) > MaxSecret:
		return &fault.Error{Kind: fault.TooLarge, Err: fmt.Errorf("seal for account %s: the secret has %d bytes, at most %d can be sealed", accountID, len(secret), MaxSecret)}
	}
	return nil
}
