package spi

// Credentials reads the body of PUT /credentials.
var Credentials = credentials
