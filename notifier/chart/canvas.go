package chart

import (
	"image"
	"image/color"
	"image/draw"
	"math"
	"sync"

	"golang.org/x/image/font"
	"golang.org/x/image/font/gofont/gobold"
	"golang.org/x/image/font/gofont/goregular"
	"golang.org/x/image/font/opentype"
	"golang.org/x/image/font/sfnt"
	"golang.org/x/image/math/fixed"
	"golang.org/x/image/vector"
)

// scale is how many pixels a unit has: a picture of 400 units looks sharp on a telephone, which shows it about as wide.
const scale = 2.5

// faces are the fonts, made once. A face is not safe for use by several goroutines, so each canvas makes its own.
var fonts = sync.OnceValue(func() [2]*sfnt.Font {
	var out [2]*sfnt.Font
	for i, ttf := range [][]byte{goregular.TTF, gobold.TTF} {
		f, err := opentype.Parse(ttf)
		if err != nil {
			panic(err) // it is compiled in
		}
		out[i] = f
	}
	return out
})

// canvas is a picture being drawn, in units of scale pixels. It belongs to one goroutine.
type canvas struct {
	img   *image.RGBA
	faces map[style]font.Face
}

type style struct {
	bold bool
	size float64 // units
}

func newCanvas(w, h float64) *canvas {
	c := &canvas{img: image.NewRGBA(image.Rect(0, 0, int(w*scale), int(h*scale))), faces: map[style]font.Face{}}
	draw.Draw(c.img, c.img.Bounds(), image.NewUniform(white), image.Point{}, draw.Src)
	return c
}

func (c *canvas) close() {
	for _, f := range c.faces {
		_ = f.Close() // it holds no resource that could fail to go
	}
}

func (c *canvas) face(s style) font.Face {
	f := c.faces[s]
	if f == nil {
		i := 0
		if s.bold {
			i = 1
		}
		var err error
		f, err = opentype.NewFace(fonts()[i], &opentype.FaceOptions{Size: s.size * scale, DPI: 72, Hinting: font.HintingNone})
		if err != nil {
			panic(err) // the options are constant
		}
		c.faces[s] = f
	}
	return f
}

// width is how wide a text is, in units.
func (c *canvas) width(s style, text string) float64 {
	return float64(font.MeasureString(c.face(s), text)) / 64 / scale
}

// text writes with its baseline at y; align is 0 for left of x, ½ for centred, 1 for right-aligned.
func (c *canvas) text(s style, x, y, align float64, ink color.Color, text string) {
	if align > 0 {
		x -= align * c.width(s, text)
	}
	d := font.Drawer{Dst: c.img, Src: image.NewUniform(ink), Face: c.face(s),
		Dot: fixed.Point26_6{X: fixed.Int26_6(x * scale * 64), Y: fixed.Int26_6(y * scale * 64)}}
	d.DrawString(text)
}

// fit shortens a text until it is not wider than w, and leaves out what the fonts cannot write.
func (c *canvas) fit(s style, text string, w float64) string {
	text = c.writable(text)
	if c.width(s, text) <= w {
		return text
	}
	r := []rune(text)
	for len(r) > 0 && c.width(s, string(r)+"…") > w {
		r = r[:len(r)-1]
	}
	return string(r) + "…"
}

// writable replaces characters that the fonts do not have (other scripts, emoji): one mark for a run of them.
func (c *canvas) writable(text string) string {
	var buf sfnt.Buffer
	var out []rune
	lost := false
	for _, r := range text {
		i, err := fonts()[0].GlyphIndex(&buf, r)
		if err == nil && i != 0 {
			out, lost = append(out, r), false
			continue
		}
		if !lost {
			out, lost = append(out, '…'), true
		}
	}
	return string(out)
}

type spot struct{ x, y float64 }

// stroke draws a line through the spots, with round joints. dash is how long a dash and the gap after it are; 0: none.
func (c *canvas) stroke(spots []spot, width, dash float64, ink color.Color) {
	pen := c.pen(width, spots...)
	if dash > 0 {
		for _, part := range dashes(spots, dash) {
			pen.outline(part, width)
		}
	} else {
		pen.outline(spots, width)
	}
	pen.draw(ink)
}

// pen collects shapes for one colour, in a raster no larger than they need.
type pen struct {
	c  *canvas
	z  *vector.Rasterizer
	at image.Rectangle
}

// pen returns one for shapes within width of the spots.
func (c *canvas) pen(width float64, spots ...spot) *pen {
	x0, y0, x1, y1 := math.Inf(1), math.Inf(1), math.Inf(-1), math.Inf(-1)
	for _, s := range spots {
		x0, y0, x1, y1 = min(x0, s.x), min(y0, s.y), max(x1, s.x), max(y1, s.y)
	}
	at := image.Rect(int((x0-width)*scale)-1, int((y0-width)*scale)-1, int((x1+width)*scale)+2, int((y1+width)*scale)+2).Intersect(c.img.Bounds())
	return &pen{c: c, at: at, z: vector.NewRasterizer(at.Dx(), at.Dy())}
}

func (p *pen) draw(ink color.Color) {
	if !p.at.Empty() {
		p.z.Draw(p.c.img, p.at, image.NewUniform(ink), image.Point{})
	}
}

// outline adds each segment as a rectangle and each joint as a disc, all of them wound the same way, so that what
// overlaps only fills.
func (p *pen) outline(spots []spot, width float64) {
	h := width / 2
	for i, to := range spots {
		p.disc(to, h)
		if i == 0 {
			continue
		}
		from := spots[i-1]
		dx, dy := to.x-from.x, to.y-from.y
		l := math.Hypot(dx, dy)
		if l == 0 {
			continue
		}
		nx, ny := -dy/l*h, dx/l*h
		p.polygon(spot{from.x + nx, from.y + ny}, spot{from.x - nx, from.y - ny}, spot{to.x - nx, to.y - ny}, spot{to.x + nx, to.y + ny})
	}
}

func (p *pen) disc(at spot, r float64) {
	const corners = 10
	var ring [corners]spot
	for i := range ring {
		sin, cos := math.Sincos(2 * math.Pi * float64(i) / corners)
		ring[i] = spot{at.x + r*cos, at.y + r*sin}
	}
	p.polygon(ring[:]...)
}

func (p *pen) polygon(ring ...spot) {
	for i, s := range ring {
		x, y := float32(s.x*scale-float64(p.at.Min.X)), float32(s.y*scale-float64(p.at.Min.Y))
		if i == 0 {
			p.z.MoveTo(x, y)
		} else {
			p.z.LineTo(x, y)
		}
	}
	p.z.ClosePath()
}

// fill paints a polygon.
func (c *canvas) fill(ink color.Color, ring ...spot) {
	pen := c.pen(1, ring...)
	pen.polygon(ring...)
	pen.draw(ink)
}

func (c *canvas) rect(x0, y0, x1, y1 float64, ink color.Color) {
	r := image.Rect(int(math.Round(x0*scale)), int(math.Round(y0*scale)), int(math.Round(x1*scale)), int(math.Round(y1*scale)))
	draw.Draw(c.img, r, image.NewUniform(ink), image.Point{}, draw.Over)
}

// dashes cuts a line into pieces of one length with gaps as long.
func dashes(spots []spot, length float64) [][]spot {
	var out [][]spot
	var cur []spot
	left, on := length, true
	for i := 1; i < len(spots); i++ {
		p, q := spots[i-1], spots[i]
		for {
			l := math.Hypot(q.x-p.x, q.y-p.y)
			if on && len(cur) == 0 {
				cur = append(cur, p)
			}
			if l < left {
				left -= l
				if on {
					cur = append(cur, q)
				}
				break
			}
			m := spot{p.x + (q.x-p.x)*left/l, p.y + (q.y-p.y)*left/l}
			if on {
				out = append(out, append(cur, m))
				cur = nil
			}
			p, left, on = m, length, !on
			if len(out) > 2000 {
				return out // nobody sees so many
			}
		}
	}
	if len(cur) > 1 {
		out = append(out, cur)
	}
	return out
}

// The colours: told apart on white, also by those who see few colours, and never the only thing that tells.
var (
	white  = color.RGBA{255, 255, 255, 255}
	black  = color.RGBA{0x1d, 0x1c, 0x1d, 255}
	grey   = color.RGBA{0x5f, 0x63, 0x68, 255}
	pale   = color.RGBA{0xe4, 0xe6, 0xea, 255}
	faint  = color.RGBA{0xc2, 0xc7, 0xce, 255}
	red    = color.RGBA{0xc0, 0x1c, 0x28, 255}
	blush  = color.RGBA{13, 2, 3, 14} // premultiplied
	amber  = color.RGBA{0x9a, 0x5b, 0x00, 255}
	green  = color.RGBA{0x1a, 0x7f, 0x37, 255}
	lineOf = []color.RGBA{
		{0x00, 0x5f, 0xcc, 255}, {0xd5, 0x5e, 0x00, 255}, {0x00, 0x8a, 0x66, 255}, {0x8b, 0x3f, 0xb8, 255},
		{0x8a, 0x6d, 0x00, 255}, {0xb8, 0x2e, 0x7a, 255}, {0x3a, 0x87, 0xad, 255}, {0x55, 0x55, 0x55, 255},
	}
)
