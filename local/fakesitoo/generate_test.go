package fakesitoo_test

import (
	"encoding/json"
	"fmt"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/shopspring/decimal"

	"sitoo-rule/local/fakesitoo"
)

// order is what the tests read of an order. Money is read as a decimal, apart
// from the package's own arithmetic.
type order struct {
	ID         int64             `json:"orderid"`
	ShopID     int64             `json:"eshopid"`
	ExternalID *string           `json:"externalid"`
	Credit     *int64            `json:"creditorderid"`
	Date       int64             `json:"orderdate"`
	State      int64             `json:"orderstateid"`
	Payment    int64             `json:"paymentstateid"`
	Type       int64             `json:"ordertypeid"`
	Email      string            `json:"email"`
	Phone      string            `json:"phone"`
	Register   *string           `json:"registerid"`
	Warehouse  *int64            `json:"warehouseid"`
	Checkout   string            `json:"checkouttypename"`
	TotalNet   decimal.Decimal   `json:"moneytotal_net"`
	TotalVAT   decimal.Decimal   `json:"moneytotal_vat"`
	FreightNet decimal.Decimal   `json:"moneydelivery_net"`
	FreightVAT decimal.Decimal   `json:"moneydelivery_vat"`
	FinalNet   decimal.Decimal   `json:"moneyfinal_net"`
	FinalVAT   decimal.Decimal   `json:"moneyfinal_vat"`
	Roundoff   decimal.Decimal   `json:"moneytotal_gross_roundoff"`
	All        decimal.Decimal   `json:"moneytotal_gross_all"`
	Additional map[string]string `json:"additionaldata"`
	Items      []item            `json:"orderitems"`
	Payments   []struct {
		Name       string            `json:"name"`
		Amount     decimal.Decimal   `json:"moneyamount"`
		Additional map[string]string `json:"additionaldata"`
	} `json:"payments"`
}

type item struct {
	Position     int               `json:"orderitemid"`
	SKU          string            `json:"sku"`
	Quantity     int64             `json:"quantity"`
	PerUnit      *decimal.Decimal  `json:"decimalunitquantity"`
	UnitNet      decimal.Decimal   `json:"moneynetpriceperunit"`
	QuantityNet  decimal.Decimal   `json:"moneynetpriceperquantity"`
	VATPercent   int64             `json:"vatvalue"`
	Net          decimal.Decimal   `json:"moneyitemtotal_net"`
	VAT          decimal.Decimal   `json:"moneyitemtotal_vat"`
	Original     decimal.Decimal   `json:"moneyoriginalprice"`
	Discounted   decimal.Decimal   `json:"moneydiscountedprice"`
	Discount     decimal.Decimal   `json:"moneydiscount"`
	TotalDecimal decimal.Decimal   `json:"decimalquantitytotal"`
	Additional   map[string]string `json:"additionaldata"`
}

func decode(t testing.TB, data []byte) order {
	t.Helper()
	var o order
	if err := json.Unmarshal(data, &o); err != nil {
		t.Fatalf("order %s: %v", data, err)
	}
	return o
}

func generate(t testing.TB, seed uint64, n int) []order {
	t.Helper()
	all := make([]order, 0, n)
	for data := range fakesitoo.Generate(seed, n) {
		all = append(all, decode(t, data))
	}
	return all
}

func TestGenerateArithmetic(t *testing.T) {
	t.Parallel()
	for _, o := range generate(t, 7, 600) {
		check := func(what string, got, want decimal.Decimal) {
			t.Helper()
			if !got.Equal(want) {
				t.Errorf("order %d: %s is %s, want %s", o.ID, what, got, want)
			}
		}
		var net, vat decimal.Decimal
		for i, r := range o.Items {
			if r.Position != i {
				t.Errorf("order %d: row %d has position %d", o.ID, i, r.Position)
			}
			check("unit price", r.UnitNet, r.Original.Sub(r.Discount))
			if !r.Discount.IsZero() {
				check("discounted price", r.Discounted, r.UnitNet)
			}
			perUnit := decimal.NewFromInt(1)
			if r.PerUnit != nil {
				perUnit = *r.PerUnit
			}
			check("price per quantity", r.QuantityNet, r.UnitNet.Mul(perUnit).Round(2))
			check("decimal quantity", r.TotalDecimal, perUnit.Mul(decimal.NewFromInt(r.Quantity)))
			check("row net", r.Net, r.QuantityNet.Mul(decimal.NewFromInt(r.Quantity)))
			check("row VAT", r.VAT, r.Net.Mul(decimal.New(r.VATPercent, -2)).Round(2))
			net, vat = net.Add(r.Net), vat.Add(r.VAT)
		}
		check("total net", o.TotalNet, net)
		check("total VAT", o.TotalVAT, vat)
		check("final net", o.FinalNet, net.Add(o.FreightNet))
		check("final VAT", o.FinalVAT, vat.Add(o.FreightVAT))
		check("grand total", o.All, o.FinalNet.Add(o.FinalVAT).Add(o.Roundoff))
		if o.Roundoff.Abs().GreaterThan(decimal.New(50, -2)) {
			t.Errorf("order %d: rounded by %s", o.ID, o.Roundoff)
		}
		if o.Checkout == "Sitoo POS - Cash" && !o.All.IsInteger() {
			t.Errorf("order %d: %s in cash", o.ID, o.All)
		}
		var paid decimal.Decimal
		for _, p := range o.Payments {
			paid = paid.Add(p.Amount)
		}
		if o.Payment == 20 {
			check("payments", paid, o.All)
		}
	}
}

func TestGenerateHasEveryKind(t *testing.T) {
	t.Parallel()
	byID := map[int64]order{}
	var last int64
	seen := map[string]int{}
	gaps := 0
	for i, o := range generate(t, 1, 600) {
		if o.ID <= last {
			t.Fatalf("order id %d after %d", o.ID, last)
		}
		if i > 0 && o.ID > last+1 {
			gaps++
		}
		last = o.ID
		byID[o.ID] = o
		note := func(is bool, what string) {
			if is {
				seen[what]++
			}
		}
		a := o.Additional
		note(a["customcrm-contactid"] != "", "customcrm")
		note(a["crm-customerid"] != "", "crm v2")
		note(a["voyado-contactid"] != "", "voyado")
		note(len(a) > 0 && o.Email != "" && a["customcrm-contactid"] == "" && o.Phone == "", "email only")
		note(o.Email == "" && o.Phone != "", "phone only")
		note(o.Email == "" && o.Phone == "" && a["customcrm-contactid"] == "" && a["crm-customerid"] == "" && a["voyado-contactid"] == "", "anonymous")
		note(o.Register == nil && o.ExternalID != nil, "web")
		note(o.ShopID == 2, "second site")
		note(o.State == 0 && o.Type == 10, "open")
		note(o.State == 20, "cancelled")
		note(o.State == -1, "abandoned")
		note(o.Type == 100, "booking")
		note(o.Type == 110, "parked")
		note(!o.Roundoff.IsZero(), "rounded")
		negative := len(o.Items) > 0 && o.Items[0].Quantity < 0
		note(negative && o.Credit == nil, "return without receipt")
		note(negative && o.Credit != nil && len(o.Items) > 1, "return of several rows")
		note(a["pos-refund-orderid"] != "", "exchange, purchase")
		note(a["pos-refundsales-orderid"] != "", "exchange, return")
		for _, r := range o.Items {
			note(r.Additional["customcrm-bonuscheckid"] != "" && r.Quantity > 0, "bonus check")
			note(r.Additional["customcrm-bonuscheckid"] != "" && r.Quantity < 0, "bonus check given back")
			note(r.PerUnit != nil, "weighed")
			note(r.VATPercent == 6, "VAT 6")
			note(r.VATPercent == 12, "VAT 12")
			note(r.VATPercent == 25, "VAT 25")
			note(!r.Discount.IsZero() && r.Additional["customcrm-bonuscheckid"] == "", "voucher")
		}
		for _, p := range o.Payments {
			note(p.Additional["giftcard-cardnumber"] != "", "gift card")
			note(p.Additional["virtual-payment"] == "true", "virtual payment")
		}
	}
	for _, what := range []string{
		"customcrm", "crm v2", "voyado", "email only", "phone only", "anonymous", "web", "second site", "open", "cancelled",
		"abandoned", "booking", "parked", "rounded", "return without receipt", "return of several rows", "exchange, purchase",
		"exchange, return", "bonus check", "bonus check given back", "weighed", "VAT 6", "VAT 12", "VAT 25", "voucher", "gift card", "virtual payment",
	} {
		if seen[what] == 0 {
			t.Errorf("no order of the kind %q", what)
		}
	}
	if gaps == 0 {
		t.Error("the ids have no gaps")
	}

	// Links lead to what they name, and nothing is given back twice.
	credited := map[string]bool{}
	offline := 0
	var newest int64
	for data := range fakesitoo.Generate(1, 600) {
		o := decode(t, data)
		if o.Date < newest-2*24*60*60 {
			offline++
		}
		newest = max(newest, o.Date)
		if to := o.Additional["pos-refundsales-orderid"]; to != "" {
			id, _ := strconv.ParseInt(to, 10, 64)
			if got := byID[id].Additional["pos-refund-orderid"]; got != fmt.Sprint(o.ID) {
				t.Errorf("order %d is exchanged for %d, which names %q", o.ID, id, got)
			}
		}
		if o.Credit == nil {
			continue
		}
		from, has := byID[*o.Credit]
		if !has || from.ID >= o.ID {
			t.Errorf("order %d credits %d, which is not an earlier order", o.ID, *o.Credit)
		}
		if got, want := o.Additional["pos-originalsales-orderid"], fmt.Sprint(from.ID); got != want {
			t.Errorf("order %d names the original %q, want %q", o.ID, got, want)
		}
		if diff := cmp.Diff(from.Additional["customcrm-contactid"], o.Additional["customcrm-contactid"]); diff != "" {
			t.Errorf("order %d: contact (-bought +returned):\n%s", o.ID, diff)
		}
		for _, r := range o.Items {
			key := fmt.Sprint(from.ID, "/", r.Additional["pos-originalsales-orderitemid"])
			if credited[key] {
				t.Errorf("row %s given back twice", key)
			}
			credited[key] = true
			at, _ := strconv.Atoi(r.Additional["pos-originalsales-orderitemid"])
			if at >= len(from.Items) || from.Items[at].SKU != r.SKU || !from.Items[at].Net.Equal(r.Net.Neg()) {
				t.Errorf("order %d gives back %s for %s, which is not row %d of %d", o.ID, r.SKU, r.Net, at, from.ID)
			}
		}
	}
	if offline == 0 {
		t.Error("no order of a till that was offline")
	}
}

func TestGenerateIsRepeatable(t *testing.T) {
	t.Parallel()
	var long, again []string
	for o := range fakesitoo.Generate(3, 200) {
		long = append(long, string(o))
	}
	for o := range fakesitoo.Generate(3, 100) {
		again = append(again, string(o))
	}
	if diff := cmp.Diff(long[:100], again); diff != "" {
		t.Errorf("100 orders are not the first of 200 (-long +short):\n%s", diff)
	}
	for o := range fakesitoo.Generate(4, 1) {
		if string(o) == long[0] {
			t.Error("another seed gives the same order")
		}
	}
	for range fakesitoo.Generate(3, 0) {
		t.Error("an order where none was asked for")
	}
	count := 0
	for range fakesitoo.Generate(3, 50000) {
		if count++; count == 5 {
			break // the rest is never made
		}
	}
}

// TestOrderHasTheDocumentedMembers compares the member names with example A of
// the contract, in their order.
func TestOrderHasTheDocumentedMembers(t *testing.T) {
	t.Parallel()
	const documented = `orderid eshopid externalid creditorderid checkouttypeid deliverytypeid email namefirst namelast personalid company phone ` +
		`invoice_address invoice_address2 invoice_zip invoice_city invoice_state invoice_countryid delivery_address delivery_address2 delivery_zip ` +
		`delivery_city delivery_state delivery_countryid comment commentinternal customerref checkoutref moneytotal_net moneytotal_vat moneycheckout_net ` +
		`moneycheckout_vat moneytotal_gross_checkout moneydelivery_net moneydelivery_vat moneytotal_gross_delivery moneyfinal_net moneyfinal_vat ` +
		`moneyfinal_salestax moneytotal_gross_roundoff moneytotal_gross_all checkouttypename checkoutmethodid checkoutmethodsubid deliverytypename ` +
		`orderdate orderstateid paymentstateid ordertypeid userid_staff registerid warehouseid datereserved currencycode additionaldata orderitems ` +
		`payments reservedpayments orderlogitems`
	for o := range fakesitoo.Generate(1, 1) {
		if diff := cmp.Diff(documented, names(t, o)); diff != "" {
			t.Errorf("order (-documented +got):\n%s", diff)
		}
		var parts struct {
			Items    []json.RawMessage `json:"orderitems"`
			Payments []json.RawMessage `json:"payments"`
		}
		if err := json.Unmarshal(o, &parts); err != nil {
			t.Fatal(err)
		}
		const row = `orderitemid orderitemtype productid productname sku productattributes externalinput externalinputtitle unitlabel quantity ` +
			`decimalunitquantity moneynetpriceperunit moneypriceorg vatvalue deliveryinfo moneyitemtotal_net moneyitemtotal_vat voucherid vouchercode ` +
			`vouchername moneyoriginalprice moneydiscountedprice moneydiscount salestaxes additionaldata decimalquantitytotal moneynetpriceperquantity`
		if diff := cmp.Diff(row, names(t, parts.Items[0])); diff != "" {
			t.Errorf("order item (-documented +got):\n%s", diff)
		}
		if diff := cmp.Diff("name moneyamount externalid reftype refid cardissuer additionaldata", names(t, parts.Payments[0])); diff != "" {
			t.Errorf("payment (-documented +got):\n%s", diff)
		}
	}
}

func BenchmarkGenerate(b *testing.B) {
	for b.Loop() {
		for range fakesitoo.Generate(1, 1000) {
			continue
		}
	}
}
