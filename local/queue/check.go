package queue

import (
	"crypto/md5"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"sitoo-rule/local/template"
	"sitoo-rule/shared/fault"
	"sitoo-rule/shared/worker"
)

// Limits of the service on one message.
const (
	MaxMessage    = 1 << 20 // bytes of body and attributes: names, types and values
	MaxAttributes = 10
	MaxSendDelay  = 15 * time.Minute // for which a message can be hidden at first
)

// refuse makes an *Error with the kind that the adapter of SQS gives it.
func refuse(k fault.Kind, code, format string, args ...any) error {
	return &fault.Error{Kind: k, Err: &Error{code, fmt.Sprintf(format, args...)}}
}

// check refuses what SendMessage would, and a message without a group, which the
// adapter refuses:
// https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html
func check(q template.Queue, m worker.Message) error {
	size := len(m.Body)
	if size == 0 {
		return refuse(fault.Invalid, "MissingParameter", "the body is empty")
	}
	if len(m.Attributes) > MaxAttributes {
		return refuse(fault.Internal, "InvalidParameterValue", "%d attributes, expected at most %d", len(m.Attributes), MaxAttributes)
	}
	for _, name := range slices.Sorted(maps.Keys(m.Attributes)) {
		value := m.Attributes[name]
		if !attributeName(name) {
			return refuse(fault.Internal, "InvalidParameterValue", "%q is not an attribute's name", name)
		}
		if err := checkText("the attribute "+name, value); err != nil {
			return err
		}
		size += len(name) + len(attributeType) + len(value)
	}
	if size > MaxMessage {
		return refuse(fault.TooLarge, "InvalidParameterValue", "%d bytes with attributes, expected at most %d", size, MaxMessage)
	}
	if err := checkText("the body", m.Body); err != nil {
		return err
	}
	switch {
	case !identifier(m.Group):
		return refuse(fault.Internal, "InvalidParameterValue", "MessageGroupId must be 1 to 128 letters, digits and punctuation of ASCII")
	case q.FIFO && m.Dedup == "" && !q.ContentDedup:
		return refuse(fault.Internal, "InvalidParameterValue", "a FIFO queue without ContentBasedDeduplication needs a MessageDeduplicationId")
	case q.FIFO && m.Dedup != "" && !identifier(m.Dedup):
		return refuse(fault.Internal, "InvalidParameterValue", "MessageDeduplicationId must be 1 to 128 letters, digits and punctuation of ASCII")
	}
	switch {
	case q.FIFO && m.Delay > 0:
		return refuse(fault.Internal, "InvalidParameterValue", "DelaySeconds is not valid for a message on a FIFO queue")
	case m.Delay > MaxSendDelay:
		return refuse(fault.Internal, "InvalidParameterValue", "DelaySeconds of %v, expected at most %v", m.Delay, MaxSendDelay)
	}
	return nil
}

const attributeType = "String"

// checkText refuses characters that are not in XML 1.0, which SQS goes by.
func checkText(what, s string) error {
	for i, r := range s {
		ok := r == '\t' || r == '\n' || r == '\r' || r >= 0x20 && r <= 0xD7FF || r >= 0xE000 && r <= 0xFFFD || r >= 0x10000
		if r == utf8.RuneError {
			_, width := utf8.DecodeRuneInString(s[i:])
			ok = width > 1 // U+FFFD itself, not a broken byte
		}
		if !ok {
			return refuse(fault.Invalid, "InvalidMessageContents", "%s has a character at byte %d that SQS refuses", what, i)
		}
	}
	return nil
}

func attributeName(s string) bool {
	if s == "" || len(s) > 256 || s[0] == '.' || s[len(s)-1] == '.' || strings.Contains(s, "..") {
		return false
	}
	if lower := strings.ToLower(s); strings.HasPrefix(lower, "aws.") || strings.HasPrefix(lower, "amazon.") {
		return false
	}
	return !strings.ContainsFunc(s, func(r rune) bool {
		letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
		return !letter && r != '_' && r != '-' && r != '.'
	})
}

// identifier tells whether s may be a message group or a deduplication id.
func identifier(s string) bool {
	return s != "" && len(s) <= 128 && !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r >= 0x7f })
}

func hexMD5(s string) string {
	sum := md5.Sum([]byte(s))
	return hex.EncodeToString(sum[:])
}

// attributesMD5 is the digest described under "Calculating the MD5 message digest
// for message attributes" in the developer guide, "" without attributes.
func attributesMD5(attrs map[string]string) string {
	if len(attrs) == 0 {
		return ""
	}
	var b []byte
	field := func(s string) {
		b = binary.BigEndian.AppendUint32(b, uint32(len(s)))
		b = append(b, s...)
	}
	for _, name := range slices.Sorted(maps.Keys(attrs)) {
		field(name)
		field(attributeType)
		b = append(b, 1) // transported as text
		field(attrs[name])
	}
	return hexMD5(string(b))
}

// eventSize returns how many bytes a message takes in an event, rounded up.
func eventSize(m worker.Message) int {
	const (
		frame     = 2048 // ids, attributes of the service, names of members
		attribute = 128
	)
	size := frame + jsonSize(m.Body)
	for name, value := range m.Attributes {
		size += attribute + len(name) + jsonSize(value)
	}
	return size
}

// jsonSize returns the length of s as a JSON string without its quotes, as
// encoding/json writes it when it does not escape HTML.
func jsonSize(s string) int {
	n := len(s)
	for i := range len(s) {
		if c := s[i]; c == '"' || c == '\\' || c < ' ' {
			n++
		}
	}
	// U+2028 and U+2029 are three bytes, escaped six.
	return n + 3*(strings.Count(s, "\u2028")+strings.Count(s, "\u2029"))
}
