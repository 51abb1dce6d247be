package remotewritetest

import (
	"fmt"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
)

type label struct{ name, value string }

type series struct {
	labels  []label
	samples []Point
}

// decode reads a prometheus.WriteRequest. It shares nothing with the encoder that it tests.
func decode(b []byte) (out []series, err error) {
	err = fields(b, func(num protowire.Number, v []byte, _ uint64) error {
		if num != 1 {
			return fmt.Errorf("field %d in a request", num)
		}
		var s series
		err := fields(v, func(num protowire.Number, v []byte, _ uint64) error {
			switch num {
			case 1:
				l, err := decodeLabel(v)
				s.labels = append(s.labels, l)
				return err
			case 2:
				p, err := decodePoint(v)
				s.samples = append(s.samples, p)
				return err
			}
			return fmt.Errorf("field %d in a series", num)
		})
		out = append(out, s)
		return err
	})
	return out, err
}

func decodeLabel(b []byte) (l label, err error) {
	return l, fields(b, func(num protowire.Number, v []byte, _ uint64) error {
		if !utf8.Valid(v) {
			return fmt.Errorf("a string that is not UTF-8")
		}
		switch num {
		case 1:
			l.name = string(v)
		case 2:
			l.value = string(v)
		default:
			return fmt.Errorf("field %d in a label", num)
		}
		return nil
	})
}

func decodePoint(b []byte) (p Point, err error) {
	return p, fields(b, func(num protowire.Number, _ []byte, n uint64) error {
		switch num {
		case 1:
			p.Bits = n
		case 2:
			p.T = int64(n)
		default:
			return fmt.Errorf("field %d in a sample", num)
		}
		return nil
	})
}

// fields calls f for each field of a message: with its bytes, or with its number.
func fields(b []byte, f func(num protowire.Number, v []byte, n uint64) error) error {
	for len(b) > 0 {
		num, typ, k := protowire.ConsumeTag(b)
		if k < 0 {
			return protowire.ParseError(k)
		}
		b = b[k:]
		var v []byte
		var n uint64
		switch typ {
		case protowire.BytesType:
			v, k = protowire.ConsumeBytes(b)
		case protowire.VarintType:
			n, k = protowire.ConsumeVarint(b)
		case protowire.Fixed64Type:
			n, k = protowire.ConsumeFixed64(b)
		default:
			return fmt.Errorf("wire type %d", typ)
		}
		if k < 0 {
			return protowire.ParseError(k)
		}
		b = b[k:]
		if err := f(num, v, n); err != nil {
			return err
		}
	}
	return nil
}
