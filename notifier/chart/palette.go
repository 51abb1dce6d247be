package chart

import (
	"cmp"
	"image"
	"image/color"
	"slices"
)

// paletted writes a picture with at most 256 colours: the edges of its lines need no more, and it is a third as
// large.
func paletted(img *image.RGBA) *image.Paletted {
	var count [1 << 15]int
	for i := 0; i < len(img.Pix); i += 4 {
		count[coarse(img.Pix[i:i+3])]++
	}
	var used []int
	for c, n := range count {
		if n > 0 {
			used = append(used, c)
		}
	}
	slices.SortFunc(used, func(a, b int) int { return cmp.Or(count[b]-count[a], a-b) })
	palette := make(color.Palette, 0, 256)
	var index [1 << 15]uint8
	for i, c := range used {
		if i < 256 {
			palette = append(palette, fine(c))
			index[c] = uint8(i)
			continue
		}
		index[c] = uint8(palette.Index(fine(c)))
	}
	out := image.NewPaletted(img.Bounds(), palette)
	for i := range out.Pix {
		out.Pix[i] = index[coarse(img.Pix[4*i:4*i+3])]
	}
	return out
}

// coarse numbers a colour by the five bits of each part that an eye tells apart.
func coarse(p []byte) int { return int(p[0]>>3)<<10 | int(p[1]>>3)<<5 | int(p[2]>>3) }

// fine is the colour of that number; white stays white.
func fine(c int) color.RGBA {
	f := func(v int) byte { v &= 31; return byte(v<<3 | v>>2) }
	return color.RGBA{f(c >> 10), f(c >> 5), f(c), 255}
}
