package dynamo_test

import (
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"sitoo-rule/local/awslocal"
	"sitoo-rule/local/contract"
	"sitoo-rule/shared/dynamo"
)

// Histories of many tills over the wire, one request at a time as
// contract.Emulator says.
func TestBonusHistoryOnEmulator(t *testing.T) {
	t.Parallel()
	cfg, ok := contract.Emulator(t)
	if !ok {
		return
	}
	const table = "test-bonus-history"
	err := awslocal.CreateTables(t.Context(), cfg, []awslocal.Table{
		{Name: table, Hash: awslocal.Key{Name: "account", Type: "S"}, Range: awslocal.Key{Name: "subscriber", Type: "N"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	contract.BonusHistory(t, dynamo.NewBonus(dynamodb.NewFromConfig(cfg), table))
}
