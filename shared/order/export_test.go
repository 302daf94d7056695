package order

// BoughtOf reads an entry back as a customer card shows it.
var BoughtOf = boughtOf
