// The ellipse inside which a 2D Gaussian's alpha reaches 1/255, and the tiles it meets: the exact form of the
// opacity-aware culling of StopThePop, Speedy-Splat and FlashGS, by intersecting each row of tiles with the ellipse.
#pragma once

#include "layout.h"

namespace moegs {

// Columns of tiles [first, last).
struct Columns {
  int first, last;
};

// Rows of the ellipse are |dx - slope dy|^2 <= reach + shrink dy^2, as in Record.
class Ellipse {
 public:
  // From a conic (xx, xy, yy) and an opacity >= 1/255.
  Ellipse(const float* conic, float log2_opacity);

  // Columns of tiles met by the ellipse around (x, y) in the row of tiles `tile_row`, within `listed`.
  Columns columns(double x, double y, int tile_row, Columns listed) const;

  double slope, reach, shrink;

 private:
  double tallest_;  // largest |dy|
  double side_;     // dy of the rightmost point; the leftmost is at -side_
};

}  // namespace moegs
